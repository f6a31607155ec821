"""What every revision log promises; each back end is one more parameter."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable, RevisionConflict
from gateway.log.base import RevisionLog
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import Draft, RouteDisabled


@pytest.fixture(params=["sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RevisionLog]:
    made = SqliteLog(tmp_path / "log.sqlite")
    yield made
    made.close()


def draft(name: str, actor: str = "ann") -> Draft:
    return Draft(RouteDisabled(name), actor, "why", 1.5)


def test_events_come_back_in_order_as_they_were(log: RevisionLog) -> None:
    made = [log.append(draft(f"w{n}"), expected=n) for n in range(5)]
    assert [e.revision for e in made] == [1, 2, 3, 4, 5]
    assert list(log.read()) == made
    assert list(log.read(after=3)) == made[3:]
    assert list(log.read(after=1, limit=2)) == made[1:3]
    assert log.head() == 5


def test_a_moved_log_refuses_and_names_who_moved_it(log: RevisionLog) -> None:
    log.append(draft("w", actor="bob"), expected=0)
    with pytest.raises(RevisionConflict, match="bob") as caught:
        log.append(draft("w"), expected=0)
    assert (caught.value.expected, caught.value.actual) == (0, 1)
    assert log.head() == 1


def _append_ten(path: Path) -> None:
    log = SqliteLog(path)
    for _ in range(10):
        while True:
            try:
                log.append(draft("w", actor=str(os.getpid())), expected=log.head())
                break
            except RevisionConflict:
                continue


def test_processes_that_append_at_once_lose_and_repeat_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    SqliteLog(path).close()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_ten, args=(path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [e.revision for e in SqliteLog(path).read()] == list(range(1, 31))


def _append_and_die(path: Path) -> None:
    SqliteLog(path).append(draft("w"), expected=0)
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_appended_event_survives_a_kill_before_anybody_was_told(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    process = multiprocessing.get_context("spawn").Process(target=_append_and_die, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert SqliteLog(path).head() == 1


def test_the_past_cannot_be_edited(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    log.append(draft("w"), expected=0)
    with sqlite3.connect(tmp_path / "log.sqlite") as connection:
        for order in ("DELETE FROM events", "UPDATE events SET actor = 'x'"):
            with pytest.raises(sqlite3.IntegrityError, match="events never"):
                connection.execute(order)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LogUnavailable, match=r"log\.sqlite"):
        SqliteLog(path)
