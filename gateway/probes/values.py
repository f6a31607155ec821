"""Probes as values: what is asked, and how an answer is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.guard.values import CheckRule


@dataclass(frozen=True, slots=True)
class Choices:
    """Possible endings, one of them right. They are scored, nothing is generated."""

    texts: tuple[str, ...]
    right: int


@dataclass(frozen=True, slots=True)
class Probe:
    """One item. `judged` makes a score of what a model does with it, 0 good to 1 bad: a check of
    the answer, or 1 - the probability of the right choice among the choices."""

    id: str
    judged: CheckRule | Choices
    messages: tuple[Mapping[str, str], ...] = field(default=(), hash=False)
    prompt: str = ""  # plain text, where there are no messages
    max_tokens: int = 48


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """The probes of one file, by suite: at least one suite, none empty."""

    name: str
    digest: str  # sha256 hex of the file
    suites: Mapping[str, tuple[Probe, ...]] = field(hash=False)

    @property
    def size(self) -> int:
        """All items."""
        return sum(len(items) for items in self.suites.values())
