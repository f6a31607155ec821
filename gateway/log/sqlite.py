"""The revision log in one SQLite file: the embedded default, durable on each commit."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import LogUnavailable, RevisionConflict
from gateway.routing.codec import decode_change, encode_change
from gateway.routing.events import Draft, Event

FILE_NAME = "revisions.sqlite"
_BUSY_S = 5.0
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    revision INTEGER PRIMARY KEY,
    change TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events never change'); END;
CREATE TRIGGER IF NOT EXISTS events_never_go BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events never go'); END;
-- INSERT OR REPLACE deletes without the trigger above: only the next number may come in.
CREATE TRIGGER IF NOT EXISTS events_follow_on BEFORE INSERT ON events
WHEN NEW.revision IS NOT (SELECT coalesce(max(revision), 0) + 1 FROM events)
BEGIN SELECT RAISE(ABORT, 'events follow on without a gap'); END;
"""


class SqliteLog:
    """See `RevisionLog`. Safe from several threads and processes; one connection, one lock."""

    def __init__(self, path: Path) -> None:
        """Open or make the log at `path`. Raises LogUnavailable."""
        self._path = path
        self._lock = threading.Lock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._use_wal()
            self._connection.execute("PRAGMA synchronous=FULL")
            self._set_up()

    def _use_wal(self) -> None:
        """Switch to write-ahead logging. SQLite does not wait by itself while another process
        switches the same new file, so this does."""
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def append(self, draft: Draft, *, expected: int) -> Event:
        """See `RevisionLog.append`."""
        with self._lock, self._translated():
            # IMMEDIATE takes the write lock before the head is read: nobody comes in between.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                head, actor = self._head()
                if head != expected:
                    raise RevisionConflict(
                        f"the log is at revision {head}, moved by {actor}; "
                        f"this was decided on revision {expected}",
                        expected=expected,
                        actual=head,
                        actor=actor,
                    )
                self._connection.execute(
                    "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                    (head + 1, encode_change(draft.change), draft.actor, draft.reason, draft.at),
                )
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a failed commit may have ended it
                    self._connection.execute("ROLLBACK")
                raise
        return Event(expected + 1, draft.change, draft.actor, draft.reason, draft.at)

    def read(self, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """See `RevisionLog.read`."""
        with self._lock, self._translated():
            rows = self._connection.execute(
                "SELECT revision, change, actor, reason, at FROM events "
                "WHERE revision > ? ORDER BY revision LIMIT ?",
                (after, -1 if limit is None else limit),
            ).fetchall()
            return [Event(n, decode_change(text), *rest) for n, text, *rest in rows]

    def head(self) -> int:
        """See `RevisionLog.head`."""
        with self._lock, self._translated():
            return self._head()[0]

    def close(self) -> None:
        """Close the file; the log cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def _set_up(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA_VERSION:
            raise ValueError(
                f"it was written by a newer gateway (schema {version}, this one reads "
                f"{_SCHEMA_VERSION}); upgrade"
            )
        self._connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
        )

    def _head(self) -> tuple[int, str | None]:
        row = self._connection.execute(
            "SELECT revision, actor FROM events ORDER BY revision DESC LIMIT 1"
        ).fetchone()
        return (0, None) if row is None else (row[0], row[1])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise LogUnavailable(
                f"the log {self._path} cannot be used: {error}; check that the folder can be "
                "written, or restore the file from a backup"
            ) from error
