"""The bets keep their promise: few false trips however long, and few answers to a true one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.guard import sequential as seq

ALPHA = 0.05
RUNS = 1000


def trips(
    scores: seq.Floats, bound: float, alpha: float = ALPHA, every: int = 1
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The answer at which each run trips (0: never). `scores` [runs, answers]."""
    stake = seq.stakes(bound)
    wealth = np.zeros((len(scores), seq.STAKES))
    found = np.zeros(len(scores), dtype=np.int64)
    for start in range(0, scores.shape[1], every):
        taken = scores[:, start : start + every]
        count = taken.shape[1]
        grown = (
            seq.growth(stake, bound, taken[:, 0])
            if every == 1
            else seq.growth_of_counts(stake, bound, count, taken.sum(axis=1))
        )
        wealth = seq.advance(wealth, start, count, grown)
        over = (seq.e_value(wealth, start + count) >= 1 / alpha) & (found == 0)
        found[over] = start + count
    return found


def few(found: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> bool:
    """No more trips than a chance of ALPHA makes likely (three standard deviations)."""
    spread = 3 * np.sqrt(ALPHA * (1 - ALPHA) / len(found))
    return bool((found > 0).mean() <= ALPHA + spread)


def coins(rate: float | seq.Floats, answers: int, seed: int = 1) -> seq.Floats:
    rng = np.random.default_rng(seed)
    return (rng.random((RUNS, answers)) < rate).astype(float)


@pytest.mark.parametrize("bound", [0.01, 0.1, 0.5])
def test_a_healthy_route_at_its_very_bound_is_rarely_ever_tripped(bound: float) -> None:
    assert few(trips(coins(bound, 3000), bound))


def test_looking_only_now_and_then_trips_no_more_often() -> None:
    assert few(trips(coins(0.05, 4000), 0.05, every=64))


def test_scores_between_0_and_1_keep_the_promise() -> None:
    rng = np.random.default_rng(2)
    scores = rng.beta(0.2, 1.8, (RUNS, 2000))  # mean 0.1
    assert few(trips(scores, 0.1))


def test_a_rate_that_answers_to_the_past_keeps_the_promise() -> None:
    """Bad answers come in bursts, and each one's chance given the past is at most the bound."""
    rng = np.random.default_rng(3)
    scores = np.zeros((RUNS, 3000))
    for i in range(1, 3000):
        chance = np.where(scores[:, max(0, i - 5) : i].sum(axis=1) > 0, 0.1, 0.02)
        scores[:, i] = rng.random(RUNS) < chance
    assert few(trips(scores, 0.1))


def test_pairs_keep_the_promise_while_both_rates_drift() -> None:
    drift = 0.2 + 0.19 * np.sin(np.arange(3000) / 300)
    pairs = seq.difference_score(coins(drift, 3000, 4), coins(drift, 3000, 5))
    assert few(trips(pairs, seq.difference_bound(0.02)))


@pytest.mark.parametrize(
    ("rate", "within"), [(0.04, 1100), (0.05, 500), (0.2, 32), (0.6, 6), (1.0, 4)]
)
@pytest.mark.parametrize("healthy_for", [0, 5000])
def test_a_regression_from_1_percent_is_found_in_time(
    rate: float, within: int, healthy_for: int
) -> None:
    allowed = within * (3 if healthy_for else 1)
    scores = np.concatenate(
        [coins(0.01, healthy_for, 6)[:100], coins(rate, allowed, 7)[:100]], axis=1
    )
    found = trips(scores, 0.02, alpha=0.01)
    assert ((found == 0) | (found > healthy_for)).all()
    assert np.median(np.where(found, found, np.inf)) <= healthy_for + allowed


def test_a_worse_pair_is_found() -> None:
    pairs = seq.difference_score(coins(0.2, 400, 8)[:100], coins(0.02, 400, 9)[:100])
    assert (trips(pairs, seq.difference_bound(0.02), alpha=0.01) > 0).mean() > 0.95


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8))
def test_counts_of_replicas_add(parts: list[tuple[int, int]]) -> None:
    """What several processes counted is worth as much as one that counted all."""
    stake = seq.stakes(0.05)
    product = np.ones(seq.STAKES)
    for bad, good in parts:
        product *= seq.growth_of_counts(stake, 0.05, bad + good, bad)
    count, total = sum(b + g for b, g in parts), sum(b for b, _ in parts)
    whole = seq.growth_of_counts(stake, 0.05, count, total)
    np.testing.assert_allclose(np.log(product), np.log(whole), rtol=1e-9, atol=1e-9)


@given(
    st.floats(seq.LEAST_BOUND, seq.MOST_BOUND),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
)
def test_growth_of_counts_never_exceeds_the_true_growth(bound: float, scores: list[float]) -> None:
    stake = seq.stakes(bound)
    true = np.prod([seq.growth(stake, bound, score) for score in scores], axis=0)
    counted = seq.growth_of_counts(stake, bound, len(scores), sum(scores))
    assert (counted <= true * (1 + 1e-9)).all()


@given(st.floats(seq.LEAST_BOUND, seq.MOST_BOUND), st.floats(0, 1))
def test_no_score_ever_makes_the_wealth_negative(bound: float, score: float) -> None:
    assert (seq.growth(seq.stakes(bound), bound, score) > 0).all()


@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_no_more_than_the_whole_capital_is_ever_handed_out(seen: int, count: int) -> None:
    assert 1 >= seq.unspent(seen) >= seq.unspent(seen + count) >= 0


@pytest.mark.parametrize("bound", [0.0, 1.0, -1.0, float("nan")])
def test_a_bound_that_cannot_be_bet_on_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="bound"):
        seq.stakes(bound)


def test_evidence_stays_finite_however_bad_it_gets() -> None:
    stake = seq.stakes(0.01)
    wealth = np.zeros(seq.STAKES)
    for seen in range(2000):
        wealth = seq.advance(wealth, seen, 1, seq.growth(stake, 0.01, 1.0))
    assert np.isfinite(seq.e_value(wealth, 2000))
