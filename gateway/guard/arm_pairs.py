"""The two arms of a canary side by side: their concurrent answers, as pairs. Pure.

A pair is one block of time: it is whole as soon as both arms have a score in it, and its score is
that of the difference of their means (`sequential.difference_score`). So a canary's every answer at
a small share meets all the control answers since the one before, and what changes for both alike
(the traffic, the hour) is in both. Who is in which arm is a hash of names that nothing else knows;
where the arms' answers come does not depend on how good they are. Given all before it, a pair's
mean is then at most `difference_bound(tolerance)`, as long as the canary's chance of a bad answer
is over the control's by no more than the tolerance: what the betting test needs.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.guard import sequential as seq


class ArmPairs:
    """The open block of each signal; `paired` tells which signals compare the arms. Belongs to the
    watch that made it."""

    def __init__(self, paired: Sequence[bool]) -> None:
        self._paired = tuple(paired)
        # [arm][signal]: the canary's are first
        self._total = [[0.0] * len(paired) for _ in range(2)]
        self._count = [[0] * len(paired) for _ in range(2)]

    def take(self, scores: Sequence[float | None], *, control: bool) -> list[float | None]:
        """One answer's scores of an arm; what is to be counted by it: for a signal that compares
        the arms the pair that is now whole, for another one the canary's score alone."""
        found: list[float | None] = []
        for at, score in enumerate(scores):
            if not self._paired[at]:
                found.append(None if control else score)
                continue
            if score is not None:
                self._total[control][at] += score
                self._count[control][at] += 1
            found.append(self._pair(at))
        return found

    def _pair(self, at: int) -> float | None:
        if not (self._count[0][at] and self._count[1][at]):
            return None
        canary, control = (
            total[at] / count[at] for total, count in zip(self._total, self._count, strict=True)
        )
        for arm in range(2):
            self._total[arm][at], self._count[arm][at] = 0.0, 0
        return float(seq.difference_score(canary, control))
