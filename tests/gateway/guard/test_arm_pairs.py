"""The arms of a canary beside each other: a healthy one is rarely ever tripped, however the traffic
drifts and whatever its share; a worse one is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.guard import sequential as seq
from gateway.guard.arm_pairs import ArmPairs

ALPHA, TOLERANCE, RUNS = 0.05, 0.02, 400
BOUND = seq.difference_bound(TOLERANCE)


def blocks(
    control: seq.Floats | float, canary: seq.Floats | float, share: float, answers: int, seed: int
) -> tuple[seq.Floats, seq.Floats]:
    """Scores of pairs, of RUNS runs of `answers` answers, and which answers made one whole; in the
    arithmetic of ArmPairs, for all runs at once."""
    rng = np.random.default_rng(seed)
    bad = np.stack([rng.random((RUNS, answers)) < rate for rate in (canary, control)])
    arms = np.where(rng.random((RUNS, answers)) < share, 0, 1)
    total, count = np.zeros((2, RUNS)), np.zeros((2, RUNS))
    scores, whole = np.zeros((RUNS, answers)), np.zeros((RUNS, answers))
    rows = np.arange(RUNS)
    for i in range(answers):
        arm = arms[:, i]
        total[arm, rows] += bad[arm, rows, i]
        count[arm, rows] += 1
        done = (count > 0).all(axis=0)
        means = total / np.maximum(count, 1)
        scores[:, i] = np.where(done, seq.difference_score(means[0], means[1]), 0)
        whole[:, i] = done
        total[:, done], count[:, done] = 0, 0
    return scores, whole


def tripped(scores: seq.Floats, whole: seq.Floats) -> float:
    """The share of runs that ever trip."""
    stake = seq.stakes(BOUND)
    wealth, seen = np.zeros((RUNS, seq.STAKES)), np.zeros(RUNS)
    ever = np.zeros(RUNS, dtype=bool)
    for i in range(scores.shape[1]):
        grown = np.where(whole[:, i, None] > 0, seq.growth(stake, BOUND, scores[:, i]), 1.0)
        wealth = seq.advance(wealth, seen, whole[:, i], grown)
        seen += whole[:, i]
        ever |= seq.e_value(wealth, seen) >= 1 / ALPHA
    return float(ever.mean())


DRIFT = 0.25 + 0.2 * np.sin(np.arange(1500) / 120)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize(
    ("control", "canary"),
    [(0.1, 0.1 + TOLERANCE), (DRIFT, DRIFT + TOLERANCE), (0.0, TOLERANCE)],
    ids=["steady", "drifting", "rare"],
)
def test_a_canary_at_the_very_tolerance_is_rarely_ever_tripped(
    control: seq.Floats | float, canary: seq.Floats | float, share: float
) -> None:
    found = tripped(*blocks(control, canary, share, 1500, seed=3))
    assert found <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)


@pytest.mark.parametrize(("share", "answers"), [(0.05, 1500), (0.5, 300)])
def test_a_worse_canary_is_found(share: float, answers: int) -> None:
    assert tripped(*blocks(0.02, 0.6, share, answers, seed=4)) > 0.99


@given(st.lists(st.tuples(st.booleans(), st.none() | st.floats(0, 1)), max_size=30))
def test_a_pair_is_whole_once_both_arms_have_a_score_and_every_score_is_in_one_pair(
    answers: list[tuple[bool, float | None]],
) -> None:
    pairs = ArmPairs([True, False])
    open_scores: dict[bool, list[float]] = {True: [], False: []}
    for control, score in answers:
        pair, alone = pairs.take([score, score], control=control)
        assert alone == (None if control else score)
        if score is not None:
            open_scores[control].append(score)
        if not all(open_scores.values()):
            assert pair is None
            continue
        canary, other = (np.mean(open_scores[arm]) for arm in (False, True))
        assert pair == pytest.approx((1 + canary - other) / 2)
        open_scores = {True: [], False: []}
