"""The plain rule does what it says and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.guard.windows import Window, WindowRule


@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=60), st.integers(1, 20))
def test_it_trips_exactly_where_the_last_scores_are_over(scores: list[float], size: int) -> None:
    window = Window(WindowRule(size, 0.3))
    for at, score in enumerate(scores, 1):
        last = scores[:at][-size:]
        assert window.add(score) is (len(last) == size and sum(last) / size > 0.3)
