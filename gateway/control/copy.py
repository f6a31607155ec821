"""What a replica keeps on its own disk: a copy of the log, and orders the log has not got yet.

The copy is a log file like any other, written after each event. A restart without the log comes
up from it, and a log that came back with less than it had is restored from it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from gateway.errors import GatewayError, LogUnavailable, NotAllowed
from gateway.log.record import Record, verify
from gateway.log.sqlite import FILE_NAME, SqliteLog
from gateway.routing.codec import decode_change, encode_change
from gateway.routing.events import CanaryAborted, Draft, RouteDisabled

log = logging.getLogger(__name__)

_LOCK = "lock"


class LocalCopy:
    """The copy under `folder`. Its methods block but for `add` and `written`, which are for the
    event loop; `executor` runs the writes."""

    def __init__(self, folder: Path, executor: Executor) -> None:
        self._folder = folder
        self._executor = executor
        self._log: SqliteLog | None = None
        self._queue: list[Record] = []
        self._anew = False  # what is queued is another history: it belongs into a new copy
        self.held = False  # what is queued has no beginning yet
        self._writing: asyncio.Task[None] | None = None
        self._locked: int | None = None  # descriptor of the lock's file
        self.error: str | None = None  # why the copy is behind, if it is

    @property
    def path(self) -> Path:
        """Where the copy lies."""
        return self._folder / FILE_NAME

    def load(self) -> Sequence[Record]:
        """All records of the copy; none where there is none. One that is damaged, or was edited,
        is moved aside: the log is the truth, and a false copy is worse than none. Raises NotAllowed
        where another gateway uses the folder."""
        self._lock()
        try:
            records = self._opened().records()
        except LogUnavailable as error:
            if not self.path.exists():
                self.error = error.message
                return []
            records, broken = [], error.message
        else:
            revision = verify(records)
            if revision is None:
                return records
            broken = f"revision {revision} is not as it was appended"
        log.error("the copy %s is moved aside: %s", self.path, broken)
        self._replace()
        return []

    def records(self, *, after: int = 0) -> Sequence[Record]:
        """The copy's records with revision > `after`, those too that could not be written yet.
        Raises LogUnavailable while it is `held`."""
        if self.held:
            raise LogUnavailable(f"the copy {self.path} is not made yet: {self.error}")
        written: Sequence[Record] = [] if self._anew else self._opened().records(after=after)
        last = written[-1].revision if written else after
        return [*written, *(record for record in self._queue if record.revision > last)]

    def _lock(self) -> None:
        """Take the folder for this process, until `close` or its end."""
        if self._locked is not None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._locked = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return  # the copy cannot be written either, and says so
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock()
            raise NotAllowed(
                f"another gateway runs with the copy of the log in {self._folder}: give each "
                "replica a name of its own (--replica), or end the other one"
            ) from None
        except OSError as error:  # a file system without locks
            log.warning("%s cannot be locked: %s", self._folder, error)

    def _unlock(self) -> None:
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None

    def _replace(self) -> None:
        """Move the copy aside, for a new one. Raises LogUnavailable."""
        if self._log is not None:
            self._log.close()
            self._log = None
        stamp = time.strftime("%Y%m%d-%H%M%S")
        try:
            for path in self._folder.glob(f"{FILE_NAME}*"):
                if ".aside-" not in path.name:
                    path.rename(path.with_name(f"{path.name}.aside-{stamp}-{os.getpid()}"))
        except OSError as error:
            raise LogUnavailable(f"the copy {self.path} cannot be moved aside: {error}") from error

    def add(self, records: Sequence[Record]) -> None:
        """Have records written that follow those before."""
        self._queue += records
        if not self.held and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write(), name="copy-log")

    def hold(self, why: str) -> None:
        """Keep what is added until `fill` brings the records before it; `why` tells meanwhile
        what is amiss with the copy."""
        self.held, self.error = True, why

    def fill(self, records: Sequence[Record]) -> None:
        """Have the whole history written up to what was added since `hold`."""
        added, self._queue, self.held = self._queue, list(records), False
        last = records[-1].revision if records else 0
        self.add([record for record in added if record.revision > last])

    def begin_anew(self, records: Sequence[Record]) -> None:
        """Have a new copy written that begins with `records`: the log has another history. The one
        before is moved aside, and what of it was not written yet is let go."""
        self._queue, self._anew, self.held = [], True, False
        self.add(records)

    async def written(self) -> None:
        """Wait until what was added is on disk, or was found not to be writable (`error`)."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def close(self) -> None:
        """Close the file, and let the folder go."""
        if self._log is not None:
            self._log.close()
        self._unlock()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch, self._queue = self._queue, []
            try:
                if self._anew:
                    await loop.run_in_executor(self._executor, self._replace)
                    self._anew = False
                await loop.run_in_executor(self._executor, self._append, batch)
                self.error = None
            except GatewayError as error:
                if self.error is None:
                    log.error("the copy of the log is behind: %s", error.message)
                self.error = error.message
                # Kept: the next event tries again, from where the copy stands.
                self._queue = batch + self._queue
                return

    def _append(self, batch: Sequence[Record]) -> None:
        copy = self._opened()
        head = copy.head()
        copy.extend([record for record in batch if record.revision > head])

    def _opened(self) -> SqliteLog:
        if self._log is None:
            self._log = SqliteLog(self.path)
        return self._log


class LocalOrders:
    """The disables and aborts given to this replica alone while the log was away. Blocks."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "local-orders.jsonl"

    def load(self) -> list[Draft]:
        """The orders that the log has not got. Raises LogUnavailable for a file that cannot be
        read: it is replaced whole, so no crash leaves it half written, and to pass an order over
        would be to forget a disable."""
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            return [_draft(text) for text in lines]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise LogUnavailable(
                f"the orders that were given to this replica alone cannot be read from "
                f"{self._path}: {error}; make the file readable, or move it away and give those "
                "orders again"
            ) from error

    def save(self, drafts: Sequence[Draft]) -> None:
        """Replace what is kept, durably. Raises LogUnavailable."""
        lines = []
        for draft in drafts:
            line = {
                "change": encode_change(draft.change),
                "actor": draft.actor,
                "reason": draft.reason,
                "at": draft.at,
                "origin": draft.origin,
            }
            lines.append(json.dumps(line) + "\n")
        temporary = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            raise LogUnavailable(
                f"the order cannot be kept in {self._path}: {error}; it would be forgotten at a "
                "restart"
            ) from error


def _draft(text: str) -> Draft:
    """The order of one line. Raises ValueError, TypeError."""
    line = json.loads(text)
    if "change" in line:
        change = decode_change(line.pop("change"))
    else:  # as a release before canaries wrote it: a disable
        change = RouteDisabled(line.pop("workflow"), line.pop("in_flight"))
    if not isinstance(change, RouteDisabled | CanaryAborted):
        raise ValueError(f"{change.kind} is no order for one replica alone")
    return Draft(change, **line)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
