"""Is a bad rate above its bound? A test that may be looked at after every answer, for ever.

The test is a bet. Scores lie in [0, 1], 1 is bad; healthy means that each score's mean, given all
before it, is at most `bound`. A gambler who begins with 1 and stakes the share `s` of their wealth
on each score multiplies it by `1 + s * (score - bound)`: on a healthy route the wealth is a
nonnegative supermartingale, so the chance that it *ever* reaches `1 / alpha` is at most `alpha`
(Ville 1939; Shafer 2021, "Testing by betting"; Waudby-Smith and Ramdas 2024, "Estimating means of
bounded random variables by betting"). No window, no sample size, no price for looking.

Two mixtures, each again such a wealth, make the bet good against regressions not known before:
- over stakes: one gambler per alternative rate, from a little over the bound to nearly 1;
- over beginnings: half the capital bets from the first answer, the other half is handed out over
  all later answers, so that a regression after a long healthy time is found as well. (Weights
  that sum to 1 keep the bound over *all* time; the e-detectors of Shin, Ramdas and Rinaldo 2024
  use weight 1 for each beginning and bound the mean time to a false alarm instead.)
The wealth is one number for each stake, whatever has been seen. Where only counts are known, the
growth of `total` bad in `count` scores bounds the true growth from below, since the logarithm is
concave; counts of several processes add.

Pure: no clock, no I/O. All functions take leading axes (signals, or simulated runs).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STAKES = 16
LEAST_BOUND = 1e-4
MOST_BOUND = 0.95
_FIRST_ODDS = 1.2  # the nearest alternative's odds, as a multiple of the bound's
_LAST_RATE = 0.98  # the farthest alternative
_AT_ONCE = 0.5  # capital that bets from the first answer
_MOST_WEALTH = 1e100
_HORIZON = 1000.0  # answers until half of the rest is handed out


def stakes(bound: npt.ArrayLike) -> Floats:
    """The stakes for each bound. [...] -> [..., STAKES]

    Stake `(q - m) / (m * (1 - m))` is the best one against rate `q` where the bound is `m`
    (Kelly 1956); it makes the growth the likelihood ratio of `q` to `m`. The alternatives are
    evenly spaced in log odds. Raises ValueError for a bound outside LEAST_BOUND..MOST_BOUND.
    """
    m = np.asarray(bound, dtype=np.float64)[..., None]
    if np.any(m < LEAST_BOUND) or np.any(m > MOST_BOUND) or np.any(np.isnan(m)):
        raise ValueError(f"a bound lies between {LEAST_BOUND} and {MOST_BOUND}, not {m.ravel()}")
    first = np.log(_FIRST_ODDS * m / (1 - m))
    last = np.log(_LAST_RATE / (1 - _LAST_RATE))
    odds = np.exp(first + (last - first) * np.linspace(0, 1, STAKES))
    q = odds / (1 + odds)
    best: Floats = (q - m) / (m * (1 - m))
    return best


def growth(stake: Floats, bound: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
    """What one score multiplies the wealth of each stake by. [...] -> [..., STAKES]"""
    excess = np.asarray(score, dtype=np.float64) - np.asarray(bound, dtype=np.float64)
    return 1.0 + stake * excess[..., None]


def growth_of_counts(
    stake: Floats, bound: npt.ArrayLike, count: npt.ArrayLike, total: npt.ArrayLike
) -> Floats:
    """The same for `count` scores that sum to `total`: exact for scores of 0 and 1, else a lower
    bound. [...] -> [..., STAKES]"""
    m = np.asarray(bound, dtype=np.float64)[..., None]
    bad = np.asarray(total, dtype=np.float64)[..., None]
    good = np.asarray(count, dtype=np.float64)[..., None] - bad
    return np.exp(bad * np.log1p(stake * (1.0 - m)) + good * np.log1p(-stake * m))


def unspent(seen: npt.ArrayLike) -> Floats:
    """The capital not handed out yet after `seen` scores."""
    n = np.asarray(seen, dtype=np.float64)
    later = (1.0 - _AT_ONCE) * _HORIZON / (n + _HORIZON)
    return np.where(n > 0, later, 1.0)


def advance(wealth: Floats, seen: npt.ArrayLike, count: npt.ArrayLike, grown: Floats) -> Floats:
    """The wealth after `count` more scores with growth `grown`, where `seen` came before.

    Begin with `np.zeros([..., STAKES])`. Scores that are taken together begin together: what is
    handed out for them bets from the first of them.
    """
    n = np.asarray(seen, dtype=np.float64)
    begins = unspent(n) - unspent(n + np.asarray(count, dtype=np.float64))
    # Wealth given away keeps the promise; beyond all use, it must only stay finite.
    return np.minimum((wealth + begins[..., None]) * grown, _MOST_WEALTH)


def e_value(wealth: Floats, seen: npt.ArrayLike) -> Floats:
    """The evidence against healthy: at most 1 in the mean, and over `1 / alpha` at some time with
    a chance of at most `alpha`. [..., STAKES] -> [...]"""
    mixed: Floats = wealth.mean(axis=-1) + unspent(seen)
    return mixed


def difference_score(treated: npt.ArrayLike, control: npt.ArrayLike) -> Any:
    """A pair as one score in [0, 1]: 1/2 where both are alike, more where the treated is worse.

    With `difference_bound(tolerance)` it tests whether the treated rate is above the control's by
    more than the tolerance, whatever the two rates are and however they drift together: a control
    that is itself a sample needs no correction. `control` may be the mean of several.
    """
    return (1.0 + np.asarray(treated, float) - np.asarray(control, float)) / 2.0


def difference_bound(tolerance: float) -> float:
    """The bound on `difference_score` that allows the treated to be worse by `tolerance`."""
    return (1.0 + tolerance) / 2.0
