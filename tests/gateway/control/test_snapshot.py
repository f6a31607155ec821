"""A fresh replica starts from the log's snapshot, and proves it by the history."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gateway.control import history
from gateway.errors import LogUnavailable
from gateway.log.base import Snapshot
from gateway.log.redis import RedisLog
from gateway.routing.codec import encode_state
from gateway.routing.fold import RoutingState
from gateway.routing.table import Reason
from tests.gateway.control.group import ADA, Group, Replica, until

REVISIONS = 8


@pytest.fixture
async def kept(group: Group, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """A group of one with `w` disabled, and the snapshot that it has made of that."""
    monkeypatch.setattr(history, "_COMPACT_EVERY", REVISIONS)
    one = await group.add("one")
    for _ in range(3):
        await one.plane.disable("w", ADA)
        await one.plane.enable("w", ADA)
    await one.plane.disable("w", ADA)
    assert one.plane.state.revision == REVISIONS
    log = log_of(one)
    async with asyncio.timeout(30):
        while (made := await asyncio.to_thread(log.snapshot)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await one.plane.disable("v", ADA)
    return made


def log_of(replica: Replica) -> RedisLog:
    return cast(RedisLog, replica.plane._history.log)


async def test_a_fresh_replica_serves_before_it_has_read_the_history(
    group: Group, kept: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = RedisLog.records
    away = True

    def only_new(log: RedisLog, *, after: int = 0, limit: int | None = None) -> object:
        if away and after < REVISIONS - 1:
            raise LogUnavailable("the history is not to be had now")
        return read(log, after=after, limit=limit)

    monkeypatch.setattr(RedisLog, "records", only_new)
    two = await group.add("two")
    assert two.goes_to("w") == two.goes_to("v") == ("base", Reason.DISABLED)
    assert two.plane.copy_error  # it has no copy yet, and says so
    await two.plane.enable("v", ADA)
    away = False
    await until(lambda: two.plane.copy_error is None)
    copy = two.plane._history.copy
    assert copy is not None
    await copy.written()
    assert [r.revision for r in copy.records()] == list(range(1, REVISIONS + 3))
    await group.agree()


async def test_a_snapshot_that_was_edited_is_found_and_the_history_is_served(
    group: Group, kept: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    one = group.replicas[0]
    state = one.plane.state
    false = RoutingState(kept.revision, state.routes, state.table_digest, state.file_digest)
    edited = Snapshot(kept.revision, kept.hash, kept.actor, encode_state(false))
    await asyncio.to_thread(log_of(one).keep_snapshot, edited)
    two = await group.add("two")
    await until(lambda: two.goes_to("w") == ("base", Reason.DISABLED))
    assert "was edited" in caplog.text
    await group.agree()


async def test_a_snapshot_of_another_history_or_version_is_not_used(
    group: Group, kept: Snapshot
) -> None:
    one = group.replicas[0]
    log = log_of(one)
    await asyncio.to_thread(
        log.keep_snapshot, Snapshot(kept.revision, "f" * 64, kept.actor, kept.state)
    )
    assert await asyncio.to_thread(log.snapshot) is None
    newer = kept.state.replace('"revision"', '"mood": "fine", "revision"', 1)
    await asyncio.to_thread(
        log.keep_snapshot, Snapshot(kept.revision, kept.hash, kept.actor, newer)
    )
    two = await group.add("two")
    assert two.plane.copy_error is None  # the whole log was read
    await group.agree()


async def test_a_history_that_is_broken_before_its_snapshot_is_told_and_forgets_no_disable(
    group: Group, kept: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    one = group.replicas[0]
    group.server.client().xdel(log_of(one)._stream, "3-0")
    two = await group.add("two")
    await until(lambda: "revision 3 is not as it was appended" in caplog.text)
    assert two.goes_to("w") == ("base", Reason.DISABLED)
    assert "revision 3" in str(two.plane.copy_error)
