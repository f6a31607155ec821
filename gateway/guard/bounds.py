"""How sure is a rate? Bounds for a rate seen once (a reference) and at every time (a live rate).

Pure. Scores lie in [0, 1]; `total` is their sum over `count` of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_STEPS = 60  # of bisection: the width is 2 ** -60


def upper_bound(total: float, count: int, delta: float) -> float:
    """The true mean is above this with a chance of at most `delta`; 1 where `count` is 0.

    For one look at a sample of fixed size: a reference from n eval items is no exact rate. It is
    the largest `m` with `n * kl(total / n, m) <= log(1 / delta)` (Chernoff; Hoeffding 1963,
    theorem 1, for bounded scores); with no bad item it is the exact binomial bound.
    """
    if count <= 0:
        return 1.0
    rate = min(1.0, total / count)
    return _edge(lambda m: count * _divergence(rate, m) <= math.log(1 / delta), rate, 1.0)


def confidence_sequence(total: float, count: int, alpha: float) -> tuple[float, float]:
    """An interval that holds the mean at *all* times with a chance of at least `1 - alpha`.

    Robbins' mixture with the prior Beta(1/2, 1/2): a mean is left out once the evidence against
    it reaches `1 / alpha` (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform,
    nonparametric, nonasymptotic confidence sequences").
    """
    if count <= 0:
        return 0.0, 1.0
    bad, good = total, count - total
    mixed = _log_beta(bad + 0.5, good + 0.5) - _log_beta(0.5, 0.5)

    def holds(m: float) -> bool:
        return mixed - _log_power(m, bad) - _log_power(1 - m, good) < math.log(1 / alpha)

    rate = total / count
    return 1 - _edge(lambda m: holds(1 - m), 1 - rate, 1.0), _edge(holds, rate, 1.0)


def _edge(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where `holds` ends between `inside`, where it is true, and `outside`."""
    if holds(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return outside


def _divergence(p: float, q: float) -> float:
    """The divergence of Kullback and Leibler between two coins, in nats."""
    return _part(p, q) + _part(1 - p, 1 - q)


def _part(p: float, q: float) -> float:
    if p <= 0:
        return 0.0
    return p * math.log(p / q) if q > 0 else math.inf


def _log_power(base: float, exponent: float) -> float:
    if exponent <= 0:
        return 0.0
    return exponent * math.log(base) if base > 0 else -math.inf


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
