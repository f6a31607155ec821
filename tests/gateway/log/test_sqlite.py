"""What the SQLite file promises beyond the contract: durability and refusals by name."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import LogUnavailable
from gateway.log.sqlite import SqliteLog
from tests.gateway.log.test_contract import draft

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
