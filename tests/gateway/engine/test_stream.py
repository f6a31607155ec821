"""The stream between an engine and its reader."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.base import Delta, FinishReason
from gateway.engine.stream import DeltaStream
from gateway.errors import EngineFault


def piece(index: int, at: int, *, last: bool = False) -> Delta:
    finish = FinishReason.LENGTH if last else None
    return Delta(index, f"{index}:{at} ", (at,), finish=finish)


def stream(choices: int = 1) -> DeltaStream:
    return DeltaStream(choices, lambda: None)


async def test_what_piled_up_comes_as_one_delta() -> None:
    filled = stream()
    for at in range(4):
        filled.deliver(piece(0, at, last=at == 3))
    (delta,) = [delta async for delta in filled]
    assert delta == Delta(0, "0:0 0:1 0:2 0:3 ", (0, 1, 2, 3), finish=FinishReason.LENGTH)


async def test_a_reader_that_keeps_up_gets_each_piece_as_it_comes() -> None:
    filled = stream()
    deltas = aiter(filled)
    for at in range(3):
        taken = asyncio.ensure_future(anext(deltas))
        await asyncio.sleep(0)
        filled.deliver(piece(0, at))
        assert (await taken).token_ids == (at,)


async def test_an_error_comes_after_what_was_said_before_it() -> None:
    filled = stream()
    filled.deliver(piece(0, 0))
    filled.deliver(piece(0, 1))
    filled.deliver(EngineFault("broken"))
    deltas = aiter(filled)
    assert (await anext(deltas)).token_ids == (0, 1)
    with pytest.raises(EngineFault, match="broken"):
        await anext(deltas)


async def test_that_it_was_cancelled_is_told_apart_from_what_came_before() -> None:
    filled = stream()
    filled.deliver(piece(0, 0))
    filled.deliver(Delta(0, "", (), finish=FinishReason.CANCELLED))
    assert [delta.finish for delta in [d async for d in filled]] == [None, FinishReason.CANCELLED]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.booleans(), min_size=1))
def test_joined_or_not_each_choice_says_the_same(order: list[int], pauses: list[bool]) -> None:
    """`order`: which choice each piece is of; `pauses`: whether the reader has a turn after it."""
    said: dict[int, list[int]] = {0: [], 1: [], 2: []}
    texts = {0: "", 1: "", 2: ""}

    async def run() -> None:
        filled = stream(3)
        sent = [piece(index, at) for at, index in enumerate(order)]
        sent += [Delta(index, "", (), finish=FinishReason.STOP) for index in range(3)]

        async def read() -> None:
            async for delta in filled:
                said[delta.index] += delta.token_ids
                texts[delta.index] += delta.text

        reading = asyncio.create_task(read())
        for at, delta in enumerate(sent):
            filled.deliver(delta)
            if pauses[at % len(pauses)]:
                await asyncio.sleep(0)
        await reading

    asyncio.run(run())
    for index in range(3):
        mine = [at for at, of in enumerate(order) if of == index]
        assert said[index] == mine
        assert texts[index] == "".join(f"{index}:{at} " for at in mine)
