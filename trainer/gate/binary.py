"""Paired right-or-wrong scores: is the one model better, and by how much at least?

Only the discordant items say anything of a difference: those that one model got right and the
other wrong. Pure; imports nothing of the project.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest, norm

_PRECISION = 1e-9  # of an interval's end, in share of items


@dataclass(frozen=True, slots=True)
class Discordance:
    """The paired two-by-two table's cells that matter. `gains`: the adapter alone was right;
    `losses`: the base alone."""

    gains: int
    losses: int
    items: int

    @property
    def difference(self) -> float:
        """The adapter's share of right answers minus the base's."""
        return (self.gains - self.losses) / self.items

    @property
    def variance(self) -> float:
        """Of one item's difference, which is -1, 0 or 1."""
        return (self.gains + self.losses) / self.items - self.difference**2


def discordance(base: Sequence[float], adapter: Sequence[float]) -> Discordance:
    """Count both models' scores of the same items, each 0 or 1."""
    pairs = list(zip(base, adapter, strict=True))
    return Discordance(
        gains=sum(b < a for b, a in pairs),
        losses=sum(b > a for b, a in pairs),
        items=len(pairs),
    )


def mcnemar_exact(table: Discordance) -> float:
    """One-sided p that the adapter is no better.

    McNemar's test (Psychometrika 12, 1947) in its exact form: without a difference each
    discordant item falls either way like a fair coin, so that gains ~ Binomial(gains + losses,
    1/2). 1.0 where no item is discordant.
    """
    discordant = table.gains + table.losses
    if discordant == 0:
        return 1.0
    return float(binomtest(table.gains, discordant, 0.5, alternative="greater").pvalue)


def tango_score(table: Discordance, difference: float) -> float:
    """Tango's score statistic of the hypothesis that the true difference is `difference`, which
    is about standard normal under it.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17 (1998), equations for the restricted maximum
    likelihood estimate and the statistic. At no discordant item at all it is
    n*d / sqrt(n*|d|*(1 - |d|)): zero of n is no proof of no difference.
    """
    n, gains, losses = table.items, table.gains, table.losses
    observed = gains - losses - n * difference
    # The share of losses that is likeliest while gains - losses is held at `difference`.
    b = (2 * n - gains + losses) * difference - gains - losses
    c = -losses * difference * (1 - difference)
    # With hypot, as the square of a tiny b is zero.
    root = math.hypot(b, math.sqrt(-8 * n * c)) if c <= 0 else math.sqrt(max(b * b - 8 * n * c, 0))
    share = (root - b) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    if variance <= 0:
        return 0.0 if observed == 0 else math.copysign(math.inf, observed)
    return observed / math.sqrt(variance)


def tango_interval(table: Discordance, alpha: float) -> tuple[float, float]:
    """Bounds of the true difference, each missed with probability `alpha` (about, in large
    samples): the differences that Tango's score test does not reject."""
    z = float(norm.ppf(1 - alpha))
    return (
        _bisect(table, z, -1.0, table.difference),
        _bisect(table, -z, table.difference, 1.0),
    )


def tango_p(table: Discordance, above: float) -> float:
    """One-sided p of the hypothesis that the true difference is `above` or less."""
    return float(norm.sf(tango_score(table, above)))


def _bisect(table: Discordance, level: float, low: float, high: float) -> float:
    """Where the score, which falls as the difference rises, passes `level`."""
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if tango_score(table, middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2
