"""Scores that are no mere right or wrong: bounds of the mean, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.gate.continuous import Scores, bca_interval, sign_flip_p, unseen_bounds

FEW = {"resamples": 400, "seed": 3}


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-5, 5, width=32)))
def test_bounds_are_finite_and_ordered_for_any_scores(differences: Scores) -> None:
    low, high = bca_interval(differences, 0.05, resamples=50, seed=0)
    assert np.isfinite([low, high]).all()
    assert differences.min() - 1e-6 <= low <= high <= differences.max() + 1e-6
    assert 0 < sign_flip_p(differences, 0.0, resamples=50, seed=0) <= 1


def test_a_seed_gives_the_same_bounds_again() -> None:
    differences = np.random.default_rng(0).normal(size=50)
    assert bca_interval(differences, 0.01, **FEW) == bca_interval(differences, 0.01, **FEW)
    assert sign_flip_p(differences, 0, **FEW) == sign_flip_p(differences, 0, **FEW)


def test_a_large_sample_is_bounded_as_the_normal_law_says() -> None:
    differences = np.random.default_rng(1).normal(0.3, 1.0, size=2000)
    low, high = bca_interval(differences, 0.05, resamples=4000, seed=0)
    half = 1.645 * differences.std() / 2000**0.5
    assert low == pytest.approx(differences.mean() - half, abs=0.005)
    assert high == pytest.approx(differences.mean() + half, abs=0.005)


@pytest.mark.parametrize("items", [20, 200])
def test_equal_scores_of_answers_leave_room_for_an_unseen_share(items: int) -> None:
    low, high = unseen_bounds(np.zeros(items), 0.05, probabilities=False)
    assert high == pytest.approx(3 / items, rel=0.1)
    assert low == -high


def test_equal_probabilities_are_the_same_model() -> None:
    assert unseen_bounds(np.zeros(40), 0.05, probabilities=True) == (0.0, 0.0)


def test_five_wins_of_five_are_bounded_as_the_exact_binomial_is() -> None:
    low, _ = unseen_bounds(np.ones(5), 0.05, probabilities=False)
    assert low == pytest.approx(2 * 0.05 ** (1 / 5) - 1)


def test_sign_flip_of_five_equal_gains_is_one_arrangement_of_32() -> None:
    assert sign_flip_p(np.ones(5), 0.0, **FEW) == pytest.approx(1 / 32)
    assert sign_flip_p(np.array([0.4]), 0.0, **FEW) == 0.5
    assert sign_flip_p(np.zeros(5), 0.0, **FEW) == 1.0


def _skewed(random: np.random.Generator) -> Scores:
    return 1.0 - random.exponential(1.0, size=60)


def _sparse(random: np.random.Generator) -> Scores:
    return np.where(random.random(60) < 0.05, -0.5, 0.0) + 0.025


def _normal(random: np.random.Generator) -> Scores:
    return random.normal(0, 1, size=60)


@pytest.mark.parametrize("draw", [_skewed, _sparse, _normal])
def test_lower_bound_is_above_the_truth_about_as_often_as_it_says(draw: object) -> None:
    assert callable(draw)
    random = np.random.default_rng(11)
    missed = 0
    for _ in range(400):
        differences = draw(random)
        low = min(
            bca_interval(differences, 0.05, **FEW)[0],
            unseen_bounds(differences, 0.05, probabilities=False)[0],
        )
        missed += low > 1e-9
    assert missed / 400 <= 0.085  # 0.05 and three standard errors


def test_sign_flip_accepts_no_worthless_adapter_more_often_than_alpha() -> None:
    random = np.random.default_rng(5)
    runs = 400
    wrong = sum(
        sign_flip_p(random.standard_t(4, size=40), 0.0, resamples=200, seed=i) <= 0.05
        for i in range(runs)
    )
    assert wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
