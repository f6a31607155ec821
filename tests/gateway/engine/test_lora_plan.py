"""Every group of a step's tokens is computed with its own slot's factors, and with those alone."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.embedded.lora import decode_order, plan_blocks

SLOTS = st.none() | st.integers(0, 5)


@given(st.lists(SLOTS, max_size=8), st.lists(st.tuples(SLOTS, st.integers(1, 3)), max_size=4))
def test_each_token_has_the_slot_of_its_row_and_no_place_is_given_twice(
    decode: list[int | None], prefill: list[tuple[int | None, int]]
) -> None:
    decode = [decode[i] for i in decode_order(decode)]
    wanted = decode + [slot for slot, count in prefill for _ in range(count)]
    plan = plan_blocks(len(wanted), decode, prefill, [8] * 6, [1] * 6, torch.device("cpu"))
    found: list[int | None] = [None] * len(wanted)
    for block in plan.blocks:
        slots = block.slots
        held = list(range(slots.start, slots.stop)) if isinstance(slots, slice) else slots.tolist()
        places = list(range(block.groups)) if block.places is None else block.places.tolist()
        assert len(set(places)) == block.groups
        for group, place in enumerate(places):
            first = block.start + group * block.per_group
            found[first : first + block.per_group] = [held[place]] * block.per_group
    assert found == wanted
