"""A log that a newer version wrote to: an older one never guesses, and never writes past it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable
from gateway.log.base import RevisionLog
from gateway.log.location import RedisLocation, parse_location
from gateway.log.record import Record, hash_of
from gateway.log.redis import RedisLog
from gateway.log.sqlite import FILE_NAME, SqliteLog
from gateway.routing.table import Reason
from tests.gateway.conftest import start
from tests.gateway.control.group import ADA, Group, until

NEWER = [
    {"v": 2, "kind": "route_disabled", "workflow": "v"},
    {"v": 1, "kind": "route_retired", "workflow": "v"},
    {"v": 1, "kind": "route_disabled", "workflow": "v", "in_flight": "finish", "mood": "fine"},
]


def newer(log: RevisionLog, change: dict[str, object]) -> int:
    """Have a newer version append `change`; its revision."""
    last = log.records()[-1]
    record = Record(last.revision + 1, json.dumps(change), "ada", "new", last.at, "", "")
    log.extend([replace(record, hash=hash_of(record, last.hash))])
    return record.revision


@pytest.mark.parametrize("change", NEWER, ids=["version", "kind", "field"])
async def test_a_start_on_a_newer_log_is_refused_and_leaves_it_as_it_is(
    tiny_files: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    world = await start(tiny_files, tmp_path)
    await world.gateway.stop()
    log = SqliteLog(tmp_path / "var" / FILE_NAME)
    revision = newer(log, change)
    before = log.records()
    with pytest.raises(LogUnavailable, match=rf"revision {revision} .*upgrade the gateway"):
        await start(tiny_files, tmp_path)
    assert log.records() == before
    log.close()


@pytest.fixture
async def mixed(group: Group) -> tuple[Group, RedisLog]:
    """A group, and the log as a newer replica beside it has it."""
    location = parse_location(group.server.url)
    assert isinstance(location, RedisLocation)
    return group, RedisLog(location)


async def test_a_running_older_replica_serves_what_it_knows_and_takes_no_orders_but_local_ones(
    mixed: tuple[Group, RedisLog],
) -> None:
    group, log = mixed
    old = await group.add("old")
    revision = await asyncio.to_thread(newer, log, NEWER[1])
    await until(lambda: old.plane.log_error is not None)
    assert f"revision {revision} cannot be read" in str(old.plane.log_error)
    assert "upgrade the gateway" in str(old.plane.log_error)
    assert old.goes_to() == ("a@1", Reason.ROUTE)
    with pytest.raises(LogUnavailable):
        await old.plane.disable("w", ADA)
    await old.plane.disable("w", ADA, local=True)
    assert old.goes_to() == ("base", Reason.DISABLED)
    assert (await asyncio.to_thread(log.head)) == revision
    log.close()


@pytest.mark.parametrize("with_copy", [True, False])
async def test_an_older_replica_that_starts_on_a_newer_log_answers_nothing(
    mixed: tuple[Group, RedisLog], with_copy: bool
) -> None:
    group, log = mixed
    old = await group.add("old")
    await old.plane.disable("w", ADA)
    await old.plane.close()
    revision = await asyncio.to_thread(newer, log, NEWER[1])
    if with_copy:  # as a newer version left it
        copy = SqliteLog(old.folder / "copy" / FILE_NAME)
        copy.extend(await asyncio.to_thread(log.records, after=copy.head()))
        copy.close()
    else:
        old.folder = group.folder / "another"
    await old.start()
    assert "upgrade the gateway" in str(old.plane.log_error)
    assert "upgrade the gateway" in str(old.plane.not_ready)
    assert (await asyncio.to_thread(log.head)) == revision
    log.close()
