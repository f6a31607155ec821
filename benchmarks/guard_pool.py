"""Replicas that pool: do four need more answers than one that sees them all, and does the bound on
false trips hold for the fleet?

The pooled process as the product runs it: batches of counts, one replica after the other, with the
parts of alpha that the pool and each replica's own evidence have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.guard_runs import Counts, share, spread
from gateway.guard import sequential as seq
from gateway.guard.pool import ALONE, POOLED

ALPHA = 0.01
BOUND = 0.03
RATES = (0.05, 0.2, 0.6)
REPLICAS = 4
ANSWERS = 100_000  # of all replicas, in one healthy run
_A_SECOND = 20.0  # answers of all replicas
_MOST = 20_000


def read(seed: int, runs: int) -> dict[str, Any]:
    """Answers of the whole fleet until its first trip, by the number of replicas."""
    found: dict[str, Any] = {"alpha": ALPHA, "bound": BOUND, "answers_a_second": _A_SECOND}
    for replicas in (1, REPLICAS):
        rng = np.random.default_rng([seed, 200 + replicas])
        pooled, own = fleet(rng, runs, replicas, BOUND, ANSWERS)
        read = {"false_trips": share(np.maximum(pooled, own)), "until_trip": {}}
        for rate in RATES:
            pooled, own = fleet(rng, runs, replicas, rate, _MOST)
            read["until_trip"][str(rate)] = {
                "pooled": spread(pooled),
                "own evidence alone": spread(own),
            }
        found[f"{replicas} replicas"] = read
    return found


def fleet(
    rng: np.random.Generator, runs: int, replicas: int, rate: float, answers: int
) -> tuple[Counts, Counts]:
    """How many answers the fleet had seen when its pool tripped in each run, and when the first
    replica's own evidence did; 0: never."""
    stake = seq.stakes(BOUND)
    pool, pool_seen = np.zeros((runs, seq.STAKES)), np.zeros(runs)
    own, own_seen = np.zeros((runs, replicas, seq.STAKES)), np.zeros((runs, replicas))
    by_pool, by_own = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    for _ in range(int(answers / _A_SECOND)):
        count = rng.poisson(_A_SECOND / replicas, (runs, replicas))
        bad = rng.binomial(count, rate)
        own = seq.advance(own, own_seen, count, seq.growth_of_counts(stake, BOUND, count, bad))
        own_seen += count
        for at in range(replicas):  # each speaks in its turn
            grown = seq.growth_of_counts(stake, BOUND, count[:, at], bad[:, at])
            pool = seq.advance(pool, pool_seen, count[:, at], grown)
            pool_seen += count[:, at]
            over = (seq.e_value(pool, pool_seen) >= 1 / (ALPHA * POOLED)) & (by_pool == 0)
            by_pool[over] = pool_seen[over]
        over = (seq.e_value(own, own_seen) >= 1 / (ALPHA * ALONE)).any(axis=1) & (by_own == 0)
        by_own[over] = pool_seen[over]
        if rate > BOUND and (by_pool > 0).all() and (by_own > 0).all():
            break
    return by_pool, by_own
