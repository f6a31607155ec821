"""Bounds hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.guard.bounds import confidence_sequence, upper_bound


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.7])
def test_the_true_rate_is_rarely_above_the_upper_bound(rate: float) -> None:
    rng = np.random.default_rng(1)
    samples = rng.binomial(200, rate, 4000)
    bounds = {int(k): upper_bound(int(k), 200, 0.05) for k in np.unique(samples)}
    assert np.mean([bounds[int(k)] < rate for k in samples]) <= 0.05


def test_with_no_bad_item_it_is_the_exact_binomial_bound() -> None:
    assert upper_bound(0, 240, 0.005) == pytest.approx(1 - 0.005 ** (1 / 240), abs=1e-9)


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0.001, 0.2))
def test_more_items_of_the_same_rate_say_it_more_exactly(
    count: int, share: float, delta: float
) -> None:
    one, ten = (
        upper_bound(share * count, count, delta),
        upper_bound(share * count * 10, count * 10, delta),
    )
    assert share - 1e-9 <= ten <= one + 1e-9 <= 1 + 1e-9


def test_without_items_nothing_is_known() -> None:
    assert upper_bound(0, 0, 0.05) == 1.0
    assert confidence_sequence(0, 0, 0.05) == (0.0, 1.0)


def test_the_sequence_holds_the_rate_at_all_times_together() -> None:
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        totals = np.cumsum(rng.random(1000) < 0.1)
        looks = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]
        spans = [confidence_sequence(float(totals[n - 1]), n, 0.05) for n in looks]
        missed += any(not low <= 0.1 <= high for low, high in spans)
    assert missed / 200 <= 0.05


@given(st.integers(1, 2000), st.floats(0, 1))
def test_the_sequence_holds_the_rate_that_was_seen(count: int, share: float) -> None:
    low, high = confidence_sequence(share * count, count, 0.05)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1
