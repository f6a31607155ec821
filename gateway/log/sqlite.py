"""The revision log in one SQLite file: the embedded default, durable on each commit."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import LogUnavailable
from gateway.log.base import Snapshot, conflict, refuse_unchained
from gateway.log.record import Record, event_of, sealed
from gateway.routing.events import Draft, Event

FILE_NAME = "revisions.sqlite"
_BUSY_S = 5.0
_LOOK_S = 0.1
_COLUMNS = "revision, change, actor, reason, at, origin, hash"
# What brings a file from each schema version to the next.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE events (
            revision INTEGER PRIMARY KEY,
            change TEXT NOT NULL,
            actor TEXT NOT NULL,
            reason TEXT NOT NULL,
            at REAL NOT NULL
        ) STRICT""",
        """CREATE TRIGGER events_never_change BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events never change'); END""",
        """CREATE TRIGGER events_never_go BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events never go'); END""",
        # INSERT OR REPLACE deletes without the trigger above: only the next number may come in.
        """CREATE TRIGGER events_follow_on BEFORE INSERT ON events
        WHEN NEW.revision IS NOT (SELECT coalesce(max(revision), 0) + 1 FROM events)
        BEGIN SELECT RAISE(ABORT, 'events follow on without a gap'); END""",
    ),
    (
        "ALTER TABLE events ADD COLUMN origin TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE events ADD COLUMN hash TEXT NOT NULL DEFAULT ''",
    ),
)


class SqliteLog:
    """See `RevisionLog`. Safe from several threads and processes; one connection, one lock."""

    def __init__(self, path: Path) -> None:
        """Open or make the log at `path`. Raises LogUnavailable."""
        self._path = path
        self._lock = threading.Lock()
        self._closed = threading.Event()
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
        with self._appending() as (head, actor, chain):
            if head != expected:
                raise conflict(expected, head, actor)
            record = sealed(draft, head + 1, chain)
            self._insert(record)
        return event_of(record)

    def extend(self, records: Sequence[Record]) -> None:
        """See `RevisionLog.extend`."""
        with self._appending() as (head, actor, chain):
            refuse_unchained(records, head, chain, actor)
            for record in records:
                self._insert(record)

    def read(self, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """See `RevisionLog.read`."""
        with self._translated():
            return [event_of(record) for record in self.records(after=after, limit=limit)]

    def records(self, *, after: int = 0, limit: int | None = None) -> Sequence[Record]:
        """See `RevisionLog.records`."""
        with self._lock, self._translated():
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM events WHERE revision > ? ORDER BY revision LIMIT ?",
                (after, -1 if limit is None else limit),
            )
            return [Record(*row) for row in rows]

    def wait(self, *, after: int, timeout_s: float) -> Sequence[Record]:
        """See `RevisionLog.wait`. Looks every tenth of a second."""
        deadline = time.monotonic() + timeout_s
        while self.head() <= after:
            left = deadline - time.monotonic()
            if left <= 0 or self._closed.wait(min(left, _LOOK_S)):
                return []
        return self.records(after=after)

    def head(self) -> int:
        """See `RevisionLog.head`."""
        with self._lock, self._translated():
            return self._head()[0]

    def compact(self, *, keep: int) -> int:
        """See `RevisionLog.compact`. A file on disk holds its whole history cheaply."""
        return 0

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """See `RevisionLog.keep_snapshot`: a file on this disk is replayed in no time."""

    def snapshot(self) -> Snapshot | None:
        """See `RevisionLog.snapshot`."""
        return None

    def close(self) -> None:
        """Close the file; the log cannot be used afterwards."""
        self._closed.set()
        with self._lock:
            self._connection.close()

    def _set_up(self) -> None:
        newest = len(_MIGRATIONS)
        if self._schema_version() == newest:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            version = self._schema_version()  # another process may have come first
            if version > newest:
                raise ValueError(
                    f"it was written by a newer gateway (schema {version}, this one reads "
                    f"{newest}); upgrade"
                )
            for statements in _MIGRATIONS[version:]:
                for statement in statements:
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {newest}")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _schema_version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _insert(self, record: Record) -> None:
        self._connection.execute(
            f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                record.revision,
                record.change,
                record.actor,
                record.reason,
                record.at,
                record.origin,
                record.hash,
            ),
        )

    def _head(self) -> tuple[int, str | None, str]:
        """The newest revision, who made it, and its hash."""
        row = self._connection.execute(
            "SELECT revision, actor, hash FROM events ORDER BY revision DESC LIMIT 1"
        ).fetchone()
        return (0, None, "") if row is None else (row[0], row[1], row[2])

    @contextmanager
    def _appending(self) -> Iterator[tuple[int, str | None, str]]:
        """One transaction that sees the head (revision, actor, hash) and commits at its end."""
        with self._lock, self._translated():
            # IMMEDIATE takes the write lock before the head is read: nobody comes in between.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._head()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a failed commit may have ended it
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise LogUnavailable(
                f"the log {self._path} cannot be used: {error}; check that the folder can be "
                "written, or restore the file from a backup"
            ) from error
