"""All checks of one version of one route: their evidence, and when it is enough.

`alpha` is split over the checks by their weights, so that the chance that any of them ever trips
on a healthy route is at most `alpha` (the union bound). A reference that was read from n items is
no exact rate: half of its check's part pays for an upper bound on it. A paired check takes no
single answers but pairs of them; its score is of the difference (`sequential.difference_score`).

A panel is the one mutable record of its route's evidence; the watch that made it writes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.guard import sequential as seq
from gateway.guard.bounds import upper_bound
from gateway.guard.detectors import Detector, Pair, Scored, Seen, detector, label_detector
from gateway.guard.values import CheckKind, CheckRule, GuardRule, Reference
from gateway.guard.windows import Window, WindowRule

_MOST_GROWTH = 230.0  # in the logarithm; wealth given away keeps the promise, see `seq.advance`


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that is counted. `name` is the check's kind, with the label for collapse."""

    name: str
    check: CheckRule
    detect: Detector
    bound: float  # healthy: the bad rate (of a pair: the score) is at most this
    alpha: float  # its part of the guard's


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one signal; `window` is the plain rule's mean."""

    signal: Signal
    seen: int
    bad: float
    e_value: float
    tripped: bool
    window: float | None = None
    pooled: bool = False  # of all gateways that share the log

    @property
    def line(self) -> float:
        return 1 / self.signal.alpha

    @property
    def enough(self) -> bool:
        """Whether it says now that the route is bad; `tripped` says that it did at some time."""
        check = self.signal.check
        if check.window is not None:
            return (self.window or 0.0) > (check.threshold or 0.0)
        return self.e_value >= self.line

    @property
    def progress(self) -> float:
        """How far it is on its way to a trip, in the logarithm: 0 nothing, 1 enough."""
        check = self.signal.check
        if check.window is not None:
            share = (self.window or 0.0) / check.threshold if check.threshold else 0.0
            return 1.0 if self.tripped else min(1.0, share)
        return min(1.0, max(0.0, math.log(self.e_value) / math.log(self.line)))

    @property
    def rate(self) -> float:
        """The bad rate; of a paired check by how much it is over that of the other."""
        mean = self.bad / self.seen if self.seen else 0.0
        return 2 * mean - 1 if self.signal.check.is_paired and self.seen else mean

    @property
    def allowed(self) -> float:
        """What `rate` may be."""
        check = self.signal.check
        return check.tolerance if check.is_paired else self.signal.bound

    def __str__(self) -> str:
        check = self.signal.check
        if check.window is not None:
            return (
                f"{self.signal.name}: {self.window or 0:.1%} of the last {check.window} answers "
                f"are bad, over the rule's {check.threshold or 0:.1%}"
            )
        where = " of all gateways" if self.pooled else ""
        if check.is_paired:
            return (
                f"{self.signal.name}: in {self.seen} pairs of answers{where}, the rate of bad ones "
                f"is {self.rate:+.1%} against the {check.compared}'s, allowed are "
                f"{self.allowed:+.1%}; evidence {self.e_value:.3g}, enough is {self.line:.3g}"
            )
        return (
            f"{self.signal.name}: {self.bad:g} of {self.seen} answers{where} are bad "
            f"({self.rate:.1%}), allowed are {self.signal.bound:.1%}; evidence {self.e_value:.3g}, "
            f"enough is {self.line:.3g}"
        )


def signals(
    rule: GuardRule, schema: Mapping[str, Any] | None, part_of_alpha: float = 1.0
) -> tuple[Signal, ...]:
    """The signals of a guard, with their bounds and parts of alpha. `part_of_alpha` is for tests
    that share alpha with others; the bounds are the same for any."""
    testing = sum(check.weight for check in rule.checks if check.window is None)
    found: list[Signal] = []
    for check in rule.checks:
        part = rule.alpha * check.weight / testing if testing else rule.alpha
        bound, part = bound_of(check, part)
        part *= part_of_alpha
        if check.kind is CheckKind.COLLAPSE:
            # Each label's share against one bound: healthy is that none is over it. Where the
            # labels' distribution is within `tolerance` of its reference in total variation, no
            # label's share is over its own by more.
            found += [
                Signal(
                    f"collapse:{label}",
                    check,
                    label_detector(label, check.labels),
                    bound,
                    part / len(check.labels),
                )
                for label in check.labels
            ]
        else:
            found.append(Signal(check.kind.value, check, detector(check, schema), bound, part))
    return tuple(found)


def bound_of(check: CheckRule, alpha: float) -> tuple[float, float]:
    """The bound of a check, and what is left of `alpha` for its test."""
    if check.is_paired:
        return min(seq.difference_bound(check.tolerance), seq.MOST_BOUND), alpha
    reference = check.reference
    if check.reference_items is not None:
        alpha /= 2
        items = check.reference_items
        reference = upper_bound(reference * items, items, alpha)
    return min(max(reference + check.tolerance, seq.LEAST_BOUND), seq.MOST_BOUND), alpha


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What many answers add to a panel: for each signal how many scores, their sum, and the
    logarithm of what they multiply the wealth of each stake by."""

    seen: seq.Floats  # [signals]
    bad: seq.Floats  # [signals]
    log_growth: seq.Floats  # [signals, stakes]


class Panel:
    """The evidence of one version of a route; `part` is its part of the guard's alpha."""

    def __init__(
        self,
        rule: GuardRule,
        schema: Mapping[str, Any] | None,
        *,
        part: float = 1.0,
        pooled: bool = False,
    ) -> None:
        self.rule = rule
        self.signals = signals(rule, schema, part)
        self._pooled = pooled
        self._bound = np.array([signal.bound for signal in self.signals])
        self._line = np.array([1 / signal.alpha for signal in self.signals])
        self._stake = seq.stakes(self._bound)  # [signals, stakes]
        self._tests: npt.NDArray[np.bool_] = np.array(
            [signal.check.window is None for signal in self.signals], dtype=np.bool_
        )
        self.taken = 0  # times; whoever shows the evidence sees by it that there is more
        self.reset()

    def reset(self) -> None:
        """Begin anew, without evidence."""
        count = len(self.signals)
        self._wealth = np.zeros((count, seq.STAKES))
        self._seen = np.zeros(count)
        self._bad = np.zeros(count)
        self._tripped = [False] * count
        self._windows = [_window(signal.check) for signal in self.signals]

    def score(self, seen: Seen) -> list[float | None]:
        """One score for each signal. Reads nothing that `take` writes: for any thread."""
        if isinstance(seen, Scored):
            return [
                seen.score if signal.check.kind is seen.kind else None for signal in self.signals
            ]
        if isinstance(seen, Pair):
            return [_difference(s, seen) if _of_shadow(s) else None for s in self.signals]
        return [None if _of_shadow(s) else s.detect(seen) for s in self.signals]

    def take(self, scores: Sequence[float | None]) -> list[Evidence]:
        """Count one answer's scores; the signals that trip by it, each only once."""
        self.taken += 1
        counted, bad = _counted(scores)
        self._wealth = seq.advance(self._wealth, self._seen, counted, self.growth(scores))
        self._seen += counted
        self._bad += bad
        over = self._over()
        for at, (window, score) in enumerate(zip(self._windows, scores, strict=True)):
            if window is not None and score is not None:
                over[at] = window.add(score)
        return self._trip(over)

    def growth(self, scores: Sequence[float | None]) -> seq.Floats:
        """What one answer's scores multiply the wealth by. Reads nothing that `take` writes.
        [signals, stakes]"""
        counted, bad = _counted(scores)
        return np.where(counted[:, None] > 0, seq.growth(self._stake, self._bound, bad), 1.0)

    def take_many(self, many: Sums) -> list[Evidence]:
        """Count many answers at once. Plain rules see nothing of them."""
        self.taken += 1
        grown = np.exp(np.minimum(many.log_growth, _MOST_GROWTH))
        self._wealth = seq.advance(self._wealth, self._seen, many.seen, grown)
        self._seen = self._seen + many.seen
        self._bad = self._bad + many.bad
        return self._trip(self._over())

    def _over(self) -> npt.NDArray[np.bool_]:
        over = seq.e_value(self._wealth, self._seen) >= self._line
        found: npt.NDArray[np.bool_] = over & self._tests
        return found

    def _trip(self, over: npt.NDArray[np.bool_]) -> list[Evidence]:
        new = [at for at, is_over in enumerate(over) if is_over and not self._tripped[at]]
        for at in new:
            self._tripped[at] = True
        return [self._evidence(at) for at in new]

    def evidence(self) -> list[Evidence]:
        """What is known of every signal now."""
        return [self._evidence(at) for at in range(len(self.signals))]

    def saved(self) -> dict[str, Any]:
        """The evidence as JSON values. Windows are not kept: they fill again soon."""
        return {
            "names": [signal.name for signal in self.signals],
            "wealth": self._wealth.tolist(),
            "seen": self._seen.tolist(),
            "bad": self._bad.tolist(),
            "tripped": self._tripped,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `saved` gave. Raises ValueError where it is of other signals."""
        try:
            wealth = np.asarray(saved["wealth"], dtype=np.float64)
            seen = np.asarray(saved["seen"], dtype=np.float64)
            bad = np.asarray(saved["bad"], dtype=np.float64)
            tripped = [bool(value) for value in saved["tripped"]]
            names = list(saved["names"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the evidence of a panel: {error!r}") from None
        fits = (wealth.shape, seen.shape, bad.shape, len(tripped)) == (
            self._wealth.shape,
            self._seen.shape,
            self._bad.shape,
            len(self.signals),
        )
        if not fits or names != [s.name for s in self.signals] or not np.isfinite(wealth).all():
            raise ValueError("the evidence is of other signals")
        self._wealth, self._seen, self._bad, self._tripped = wealth, seen, bad, tripped

    def _evidence(self, at: int) -> Evidence:
        window = self._windows[at]
        return Evidence(
            self.signals[at],
            int(self._seen[at]),
            float(self._bad[at]),
            float(seq.e_value(self._wealth[at], self._seen[at])),
            self._tripped[at],
            None if window is None else window.mean,
            self._pooled,
        )


def _of_shadow(signal: Signal) -> bool:
    return signal.check.compared is Reference.SHADOW


def _difference(signal: Signal, pair: Pair) -> float | None:
    one, other = signal.detect(pair.answered), signal.detect(pair.compared)
    return None if one is None or other is None else float(seq.difference_score(one, other))


def _counted(scores: Sequence[float | None]) -> tuple[seq.Floats, seq.Floats]:
    """Which scores there are (1 or 0), and their values (0 for none)."""
    counted = np.array([score is not None for score in scores], dtype=np.float64)
    return counted, np.array([score or 0.0 for score in scores], dtype=np.float64)


def _window(check: CheckRule) -> Window | None:
    if check.window is None or check.threshold is None:
        return None
    return Window(WindowRule(check.window, check.threshold))
