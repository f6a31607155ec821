"""What the follower does when something goes wrong on its way: it follows on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import pytest

from gateway.control.follower import Follower
from gateway.log.record import Record, sealed
from gateway.routing.events import Draft, RouteDisabled

DEADLINE_S = 20.0


class OneRecord:
    """A log whose newest record is always there to be read, as one that was not taken is."""

    def __init__(self) -> None:
        self.record = sealed(Draft(RouteDisabled("w"), "ada", "", 1.0), 1, "")
        self.waits = 0

    def wait(self, *, after: int, timeout_s: float) -> Sequence[Record]:
        self.waits += 1
        return [] if after else [self.record]


class Following:
    """A follower with what it was told; `takes` decides what becomes of records."""

    def __init__(self, takes: Callable[[Sequence[Record]], bool]) -> None:
        self.log = OneRecord()
        self.revision = 0
        self.caught_up = 0
        self.lost: list[Exception] = []
        self.takes = takes
        self.follower = Follower(
            cast(Any, self.log),
            revision=lambda: self.revision,
            take=self.take,
            catch_up=self.catch_up,
            lost=self.lost.append,
        )

    def take(self, records: Sequence[Record]) -> bool:
        taken = self.takes(records)
        if taken:
            self.revision = records[-1].revision
        return taken

    async def catch_up(self) -> None:
        self.caught_up += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 (the thread gives no event for it)
                await asyncio.sleep(0.005)


@pytest.fixture
async def started() -> AsyncIterator[Callable[[Following], Following]]:
    all_of_them: list[Following] = []

    def start(following: Following) -> Following:
        all_of_them.append(following)
        following.follower.start()
        return following

    yield start
    for following in all_of_them:
        following.follower.stop()
        await asyncio.to_thread(following.follower.join)


@pytest.mark.parametrize("fault", [RuntimeError("unforeseen"), KeyError("unforeseen")])
async def test_a_fault_that_nobody_foresaw_does_not_end_the_following(
    started: Callable[[Following], Following], fault: Exception
) -> None:
    faults = [fault]

    def takes(_: Sequence[Record]) -> bool:
        if faults:
            raise faults.pop()
        return True

    following = started(Following(takes))
    await following.until(lambda: following.revision == 1)


async def test_what_does_not_follow_sends_it_to_compare_the_history_and_is_not_read_again_and_again(
    started: Callable[[Following], Following],
) -> None:
    following = started(Following(lambda _: False))
    await following.until(lambda: following.caught_up >= 3)
    assert following.log.waits <= following.caught_up
