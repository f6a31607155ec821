"""What every revision log promises. A back end joins by adding its opener to `BACKENDS`."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.errors import RevisionConflict
from gateway.log.base import RevisionLog
from gateway.log.location import RedisLocation, parse_location
from gateway.log.record import verify
from gateway.log.redis import RedisLog
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import Draft, RouteDisabled, RouteEnabled
from tests.redis_server import RedisServer

Opener = Callable[[], RevisionLog]


def open_sqlite(folder: Path) -> RevisionLog:
    return SqliteLog(folder / "revisions.sqlite")


def open_redis(folder: Path) -> RevisionLog:
    location = parse_location((folder / "redis-url").read_text())
    assert isinstance(location, RedisLocation)
    return RedisLog(location)


BACKENDS: dict[str, Callable[[Path], RevisionLog]] = {"redis": open_redis, "sqlite": open_sqlite}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> str:
    """The name of a back end, for which `tmp_path` is an empty log of its own."""
    (tmp_path / "redis-url").write_text(f"{redis_server.url}?namespace={tmp_path.name}")
    return str(request.param)


@pytest.fixture
def opener(backend: str, tmp_path: Path) -> Opener:
    return lambda: BACKENDS[backend](tmp_path)


def draft(workflow: str = "w", actor: str = "ada") -> Draft:
    return Draft(RouteDisabled(workflow), actor, "why", 12.5)


def append_with_retry(log: RevisionLog, item: Draft) -> int:
    while True:
        try:
            return log.append(item, expected=log.head()).revision
        except RevisionConflict:
            continue


def append_many(backend: str, folder: Path, actor: str, count: int) -> None:
    log = BACKENDS[backend](folder)
    for number in range(count):
        append_with_retry(log, draft(f"w{number}", actor))
    log.close()


def test_revisions_count_from_one_without_gaps(opener: Opener) -> None:
    log = opener()
    assert log.head() == 0
    assert [log.append(draft(), expected=n).revision for n in range(3)] == [1, 2, 3]
    assert log.head() == 3


def test_what_was_appended_is_read_back_equal(opener: Opener) -> None:
    log = opener()
    first = log.append(draft(), expected=0)
    second = log.append(Draft(RouteEnabled("w"), "bob", "", 13.0), expected=1)
    assert list(log.read()) == [first, second]
    assert list(log.read(after=1)) == [second]
    assert list(log.read(limit=1)) == [first]
    assert list(log.read(after=2)) == []


def test_stale_append_is_refused_and_names_who_moved_the_log(opener: Opener) -> None:
    log = opener()
    log.append(draft(actor="ada"), expected=0)
    with pytest.raises(RevisionConflict) as conflict:
        log.append(draft(actor="bob"), expected=0)
    assert (conflict.value.expected, conflict.value.actual) == (0, 1)
    assert conflict.value.actor == "ada"
    assert log.head() == 1


def test_append_ahead_of_the_log_is_refused(opener: Opener) -> None:
    with pytest.raises(RevisionConflict):
        opener().append(draft(), expected=4)


def test_reopened_log_holds_everything(opener: Opener) -> None:
    log = opener()
    event = log.append(draft(), expected=0)
    log.close()
    assert list(opener().read()) == [event]


def test_a_second_handle_sees_the_append_at_once(opener: Opener) -> None:
    one, two = opener(), opener()
    event = one.append(draft(), expected=0)
    assert two.head() == 1
    assert list(two.read()) == [event]


def test_threads_on_one_handle_never_share_a_revision(opener: Opener) -> None:
    log = opener()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: append_with_retry(log, draft(f"w{n}")), range(40)))
    assert sorted(got) == list(range(1, 41))


def test_processes_never_share_a_revision(backend: str, tmp_path: Path) -> None:
    # None of them finds the log made: opening a new one is raced as well.
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=append_many, args=(backend, tmp_path, f"p{n}", 15)) for n in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    events = BACKENDS[backend](tmp_path).read()
    assert [event.revision for event in events] == list(range(1, 61))
    for n in range(4):
        mine = [e.change.workflow for e in events if e.actor == f"p{n}"]  # type: ignore[union-attr]
        assert mine == [f"w{i}" for i in range(15)]


def test_the_chain_of_an_appended_log_verifies(opener: Opener) -> None:
    log = opener()
    events = [log.append(draft(f"w{n}", "é\n"), expected=n) for n in range(4)]
    assert verify(log.records()) is None
    assert [record.hash for record in log.records()] == [event.hash for event in events]
    assert [r.revision for r in log.records(after=1, limit=2)] == [2, 3]


def test_what_was_lost_is_restored_as_it_was(opener: Opener, tmp_path: Path) -> None:
    copy = SqliteLog(tmp_path / "copy")
    for n in range(5):
        copy.append(draft(f"w{n}"), expected=n)
    log = opener()
    log.extend(copy.records(limit=2))
    log.extend(copy.records(after=2))
    assert list(log.records()) == list(copy.records())
    log.extend([])
    assert log.append(draft(), expected=5).revision == 6


def test_a_restore_that_does_not_follow_on_changes_nothing(opener: Opener, tmp_path: Path) -> None:
    copy = SqliteLog(tmp_path / "copy")
    for n in range(3):
        copy.append(draft(f"w{n}"), expected=n)
    log = opener()
    first = log.append(draft("other"), expected=0)
    for after in (0, 1, 2):
        with pytest.raises(RevisionConflict):
            log.extend(copy.records(after=after))
    assert list(log.read()) == [first]


def test_waiting_ends_with_what_another_handle_appends(opener: Opener) -> None:
    log, other = opener(), opener()
    other.append(draft("first"), expected=0)
    assert [r.revision for r in log.wait(after=0, timeout_s=5)] == [1]
    timer = threading.Timer(0.2, lambda: other.append(draft("second"), expected=1))
    timer.start()
    assert [r.revision for r in log.wait(after=1, timeout_s=20)] == [2]
    timer.join()


def test_waiting_for_nothing_ends_empty(opener: Opener) -> None:
    assert list(opener().wait(after=0, timeout_s=0.05)) == []
