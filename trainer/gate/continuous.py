"""Paired scores that are no mere right or wrong: the mean difference and its bounds.

The bootstrap makes no claim on the scores' shape. What it cannot see is what the sample does not
hold, so its bounds are never narrower than those of an unseen share of items (`unseen_bounds`).
Pure; randomness comes from the caller's seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test

Scores = NDArray[np.float64]
_BLOCK = 4_000_000  # numbers drawn at a time: 32 MB


def bca_interval(
    differences: Scores, alpha: float, *, resamples: int, seed: int
) -> tuple[float, float]:
    """Bounds of the mean of paired `differences`, each missed with probability `alpha`.

    The bias-corrected and accelerated bootstrap: Efron, "Better bootstrap confidence intervals",
    JASA 82 (1987). Where all differences are equal both bounds are their mean.
    """
    mean = float(differences.mean())
    if len(differences) < 2 or np.ptp(differences) == 0:
        return mean, mean
    interval = bootstrap(
        (differences,),
        np.mean,
        confidence_level=1 - 2 * alpha,  # two-sided, so that each side misses with alpha
        n_resamples=resamples,
        batch=_batch(differences),
        method="BCa",
        rng=seed,
    ).confidence_interval
    return float(interval.low), float(interval.high)


def unseen_bounds(differences: Scores, alpha: float, *, probabilities: bool) -> tuple[float, float]:
    """Bounds of the mean if the largest share of items that could have gone unseen changed by as
    much as the largest change seen.

    A kind of item that makes up the share u goes unseen in n draws with probability (1 - u)^n,
    hence u = 1 - alpha^(1/n): about 3/n at alpha 0.05, the "rule of three" (Hanley and
    Lippman-Hand, JAMA 249, 1983). Where no item changed at all, the largest change is taken as 1,
    the whole range of a share: equal answers score equally, so nothing seen says how large a
    change would be. `probabilities` are another matter (nats per token): such a score moves with
    any update of the weights, so that all of them equal to the last bit means the same model, and
    the bounds meet at zero.
    """
    unseen = 1 - alpha ** (1 / len(differences))
    largest = float(np.abs(differences).max())
    if largest == 0 and not probabilities:
        largest = 1.0
    seen = (1 - unseen) * float(differences.mean())
    return seen - unseen * largest, seen + unseen * largest


def sign_flip_p(differences: Scores, above: float, *, resamples: int, seed: int) -> float:
    """One-sided p of the hypothesis that the mean difference is `above` or less.

    Fisher's randomisation test for pairs ("The Design of Experiments", 1935, section 21), by
    Monte Carlo where the arrangements are many: with no difference each pair's sign is a coin's.
    The observed arrangement counts as one of those drawn, so that p is never 0 (Phipson and
    Smyth, 2010).
    """
    if len(differences) == 1:
        return 0.5 if differences[0] > above else 1.0
    result = permutation_test(
        (differences - above,),
        np.mean,
        permutation_type="samples",  # of one sample: flips of signs
        alternative="greater",
        vectorized=True,
        n_resamples=resamples,
        batch=_batch(differences),
        rng=seed,
    )
    return float(result.pvalue)


def _batch(differences: Scores) -> int:
    """How many resamples are held at a time."""
    return max(1, _BLOCK // len(differences))
