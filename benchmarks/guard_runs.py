"""Many simulated runs of one check at once: when does the guard's test trip, and a window's rule?

The bets are `gateway.guard.sequential`'s own, with the runs as the leading axis. Answers are good
or bad, independent, with a rate that may change once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from gateway.guard import sequential as seq

Counts = npt.NDArray[np.int64]

_CHUNK = 1000  # answers that are drawn together


@dataclass(frozen=True, slots=True)
class WindowedRule:
    """What an analysis of Argo Rollouts or Flagger says: the mean of each interval's answers is
    measured once; more than `most` is a failed measurement; it acts at the `failures`-th one.

    `window` is how many answers an interval has: that rule is in time, so this assumes a traffic.
    """

    name: str
    window: int
    most: float
    failures: int


@dataclass(slots=True)
class Bets:
    """The test's state over all runs."""

    bound: float
    alpha: float
    wealth: seq.Floats  # [runs, stakes]
    seen: int
    tripped: Counts  # [runs] the answer at which each tripped; 0: not yet

    @classmethod
    def begun(cls, runs: int, bound: float, alpha: float) -> Bets:
        return cls(bound, alpha, np.zeros((runs, seq.STAKES)), 0, np.zeros(runs, np.int64))

    def copy(self) -> Bets:
        return Bets(self.bound, self.alpha, self.wealth.copy(), self.seen, self.tripped.copy())

    def take(self, bad: npt.NDArray[np.bool_]) -> None:
        """Count answers. [answers, runs]"""
        stake = seq.stakes(self.bound)
        good, worse = seq.growth(stake, self.bound, 0.0), seq.growth(stake, self.bound, 1.0)
        line = 1 / self.alpha
        for one in bad:
            grown = np.where(one[:, None], worse, good)  # [runs, stakes]
            self.wealth = seq.advance(self.wealth, self.seen, 1, grown)
            self.seen += 1
            over = (seq.e_value(self.wealth, self.seen) >= line) & (self.tripped == 0)
            self.tripped[over] = self.seen


def drawn(
    rng: np.random.Generator, runs: int, answers: int, rate: float
) -> Iterator[npt.NDArray[np.bool_]]:
    """Answers of all runs, a chunk at a time. [answers, runs]"""
    for start in range(0, answers, _CHUNK):
        yield rng.random((min(_CHUNK, answers - start), runs)) < rate


def healthy_trips(
    rng: np.random.Generator, runs: int, answers: int, rate: float, bound: float, alpha: float
) -> Counts:
    """The answer at which each healthy run trips; 0 where none does."""
    bets = Bets.begun(runs, bound, alpha)
    for bad in drawn(rng, runs, answers, rate):
        bets.take(bad)
    return bets.tripped


def answers_until_trip(
    rng: np.random.Generator,
    runs: int,
    *,
    before: tuple[int, float],
    rates: list[float],
    bound: float,
    alpha: float,
    most: int,
) -> dict[float, Counts]:
    """For each rate that comes after `before` (answers and rate): how many answers of it each run
    needs to trip; 0 where `most` do not do. A run that tripped before counts as 0 too."""
    healthy = Bets.begun(runs, bound, alpha)
    for bad in drawn(rng, runs, before[0], before[1]):
        healthy.take(bad)
    found = {}
    for rate in rates:
        bets = healthy.copy()
        for bad in drawn(rng, runs, most, rate):
            bets.take(bad)
            if (bets.tripped > 0).all():
                break
        found[rate] = np.maximum(bets.tripped - before[0], 0)
    return found


def window_trips(
    rng: np.random.Generator, runs: int, answers: int, rate: float, rule: WindowedRule
) -> Counts:
    """The answer at which the rule acts in each run; 0 where it does not. The first answer is the
    first of an interval, which is in the rule's favour where a rate has just changed."""
    count = answers // rule.window
    bad = rng.binomial(rule.window, rate, (runs, count))
    failed = (bad > rule.most * rule.window + 1e-9).cumsum(axis=1) >= rule.failures
    return np.where(failed.any(axis=1), (failed.argmax(axis=1) + 1) * rule.window, 0)


def share(tripped: Counts) -> dict[str, Any]:
    """How many runs tripped, with an exact 95% interval (Clopper and Pearson 1934)."""
    count, runs = int((tripped > 0).sum()), len(tripped)
    low, high = binomtest(count, runs).proportion_ci(0.95, "exact")
    return {
        "runs": runs,
        "tripped": count,
        "share": count / runs,
        "low": round(float(low), 5),
        "high": round(float(high), 5),
    }


def spread(tripped: Counts) -> dict[str, Any]:
    """Median and 90% point of the answers until a trip; None where that many runs did not."""
    until = np.sort(np.where(tripped > 0, tripped, np.iinfo(np.int64).max))

    def at(part: float) -> int | None:
        value = int(until[int(np.ceil(part * len(until))) - 1])
        return None if value == np.iinfo(np.int64).max else value

    return {"p50": at(0.5), "p90": at(0.9), "tripped": float((tripped > 0).mean())}
