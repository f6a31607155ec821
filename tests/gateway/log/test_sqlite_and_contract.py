"""What every revision log promises. A back end joins by adding its opener to `BACKENDS`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable, RevisionConflict
from gateway.log.base import RevisionLog
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import Draft, RouteDisabled, RouteEnabled

Opener = Callable[[], RevisionLog]


def open_sqlite(folder: Path) -> RevisionLog:
    return SqliteLog(folder / "revisions.sqlite")


BACKENDS: dict[str, Callable[[Path], RevisionLog]] = {"sqlite": open_sqlite}


@pytest.fixture(params=sorted(BACKENDS))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return lambda: BACKENDS[request.param](tmp_path)


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


@pytest.mark.parametrize("backend", sorted(BACKENDS))
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


KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import Draft, RouteDisabled
log = SqliteLog(Path(sys.argv[1]))
log.append(Draft(RouteDisabled("w"), "ada", "", 1.0), expected=0)
os.kill(os.getpid(), signal.SIGKILL)  # durable, but nobody was told
"""

KILLED_BEFORE_COMMIT = """
import os, signal, sys
from pathlib import Path
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import Draft, RouteDisabled
log = SqliteLog(Path(sys.argv[1]))
log._connection.set_trace_callback(
    lambda sql: os.kill(os.getpid(), signal.SIGKILL) if sql.startswith("COMMIT") else None
)
log.append(Draft(RouteDisabled("w"), "ada", "", 1.0), expected=0)
"""


@pytest.mark.parametrize(("script", "kept"), [(KILLED, 1), (KILLED_BEFORE_COMMIT, 0)])
def test_kill_around_the_commit_keeps_all_or_nothing(
    script: str, kept: int, tmp_path: Path
) -> None:
    path = tmp_path / "revisions.sqlite"
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    log = SqliteLog(path)
    assert log.head() == kept
    assert log.append(draft(), expected=kept).revision == kept + 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'eve'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events "
        "SELECT revision, change, 'eve', reason, at, origin, hash FROM events",
    ],
)
def test_sqlite_file_itself_refuses_to_rewrite_history(statement: str, tmp_path: Path) -> None:
    path = tmp_path / "revisions.sqlite"
    log = SqliteLog(path)
    event = log.append(draft(), expected=0)
    with sqlite3.connect(path) as other, pytest.raises(sqlite3.Error):
        other.execute(statement)
    assert list(log.read()) == [event]


def test_sqlite_file_carries_its_schema_version(tmp_path: Path) -> None:
    path = tmp_path / "revisions.sqlite"
    SqliteLog(path).close()
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0] >= 1


def test_damaged_file_is_named_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "revisions.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LogUnavailable, match=r"revisions\.sqlite.*backup"):
        SqliteLog(path)


def test_locked_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "revisions.sqlite"
    log = SqliteLog(path)
    log._connection.execute("PRAGMA busy_timeout = 50")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match=r"revisions\.sqlite"):
        log.append(draft(), expected=0)
    holder.execute("ROLLBACK")
    assert log.append(draft(), expected=0).revision == 1


def test_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailable, match="file"):
        SqliteLog(tmp_path / "file" / "revisions.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LogUnavailable, match=r"revisions\.sqlite"):
        SqliteLog(tmp_path / "revisions.sqlite")
