"""The plan: a pure function, the anchors' share by tokens over any stretch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.mixing import plan
from trainer.errors import DataError

COUNTS = st.lists(st.integers(1, 120), min_size=1, max_size=30)


@given(COUNTS, COUNTS, st.floats(0.05, 0.95), st.integers(0, 9), st.data())
def test_anchors_carry_their_share_over_any_stretch(
    target: list[int], anchors: list[int], share: float, seed: int, data: st.DataObject
) -> None:
    made = plan(target, anchors, share=share, batches=40, batch_size=4, seed=seed)
    start = data.draw(st.integers(0, 39))
    stop = data.draw(st.integers(start + 1, 40))
    rows = [row for batch in made.batches[start:stop] for row in batch]
    total = sum(made.loss_tokens[row] for row in rows)
    carried = sum(made.loss_tokens[row] for row in rows if row >= made.targets)
    # At each end of the stretch it may be off by one row.
    assert abs(carried - share * total) <= 2 * max(*target, *anchors)


@given(COUNTS, COUNTS, st.integers(1, 20))
def test_a_longer_plan_begins_with_the_shorter_one(
    target: list[int], anchors: list[int], steps: int
) -> None:
    short = plan(target, anchors, share=0.4, batches=steps, batch_size=3, seed=2)
    longer = plan(target, anchors, share=0.4, batches=steps + 7, batch_size=3, seed=2)
    assert longer.batches[:steps] == short.batches


def test_each_pass_holds_every_row_once() -> None:
    made = plan([3] * 12, [], share=0, batches=6, batch_size=4, seed=1)
    rows = [row for batch in made.batches for row in batch]
    assert sorted(rows[:12]) == sorted(rows[12:]) == list(range(12))
    assert rows[:12] != rows[12:]
    assert made.passes() == (2.0, 0.0)


def test_another_seed_is_another_order() -> None:
    first, second = (
        plan([3] * 30, [9] * 5, share=0.3, batches=5, batch_size=4, seed=seed) for seed in (1, 2)
    )
    assert first.batches != second.batches


def test_a_share_without_anchors_is_refused() -> None:
    with pytest.raises(DataError, match="there are none"):
        plan([1], [], share=0.3, batches=1, batch_size=1, seed=1)
