"""A log on a disk that is really full: what was acknowledged stays, the rest is refused, and it
goes on once there is room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable
from gateway.log.base import RevisionLog
from gateway.log.location import RedisLocation, parse_location
from gateway.log.record import verify
from gateway.log.redis import RedisLog
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import Draft, RouteDisabled
from tests.redis_server import RedisServer
from tests.small_disk import fill, make_room, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as made:
        yield made


def draft(number: int) -> Draft:
    return Draft(RouteDisabled(f"w{number}"), "ada", "why " * 2000, 1.0)


def append_on(log: RevisionLog) -> None:
    """Append until it is refused: what a log had reserved holds some more."""
    for head in range(log.head(), 500):
        assert log.append(draft(head + 1), expected=head).revision == head + 1


def test_an_sqlite_log_refuses_and_goes_on(disk: Path) -> None:
    log = SqliteLog(disk / "revisions.sqlite")
    log.append(draft(1), expected=0)
    fill(disk)
    with pytest.raises(LogUnavailable, match="full"):
        append_on(log)
    head = log.head()
    assert verify(log.records()) is None
    make_room(disk)
    log.append(draft(head + 1), expected=head)
    assert [e.revision for e in SqliteLog(disk / "revisions.sqlite").read()] == list(
        range(1, head + 2)
    )


def test_a_redis_refuses_by_its_reason_and_goes_on(disk: Path) -> None:
    server = RedisServer(disk, appendonly="yes", appendfsync="everysec").start()
    try:
        location = parse_location(server.url)
        assert isinstance(location, RedisLocation)
        log = RedisLog(location)
        log.append(draft(1), expected=0)
        fill(disk)
        with pytest.raises(LogUnavailable, match="No space left"):
            append_on(log)
        head = log.head()
        make_room(disk)
        client = server.client()
        for _ in range(600):  # it tries to write again by itself
            if client.info("persistence")["aof_last_write_status"] == "ok":
                break
            time.sleep(0.1)
        log.append(draft(head + 1), expected=head)
        assert verify(log.records()) is None
        log.close()
        server.kill()
        server.start()
        assert log.head() == head + 1
    finally:
        server.kill()
