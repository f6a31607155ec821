"""The plain rule for those who want it: too many bad answers among the last so many.

It is easy to say and has no bound on false alarms: the longer it runs, the surer it fires. Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WindowRule:
    """Trips where the mean of the last `size` scores is over `most`; never before the window is
    full."""

    size: int
    most: float


@dataclass(slots=True)
class Window:
    """The last scores of one signal. Belongs to the watch that made it."""

    rule: WindowRule
    scores: deque[float] = field(default_factory=deque)
    total: float = 0.0

    def add(self, score: float) -> bool:
        """Take one score; whether the rule trips now."""
        self.scores.append(score)
        self.total += score
        if len(self.scores) > self.rule.size:
            self.total -= self.scores.popleft()
        return self.full and self.mean > self.rule.most

    @property
    def full(self) -> bool:
        return len(self.scores) >= self.rule.size

    @property
    def mean(self) -> float:
        """Of what the window holds; 0 while it is empty."""
        return self.total / len(self.scores) if self.scores else 0.0
