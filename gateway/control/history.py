"""The log as one replica sees it: reading on, appending, and finding what a store has lost.

Owned by the event loop; the log is called in threads of its own, so that a store that hangs
holds up no other work of this process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from gateway.control.copy import LocalCopy, LocalOrders
from gateway.control.live import LiveTable
from gateway.control.owed import in_force, lost_hands
from gateway.control.proof import prove
from gateway.errors import LogUnavailable, NotAllowed, NotFound, RevisionConflict
from gateway.log.base import RevisionLog, Snapshot
from gateway.log.record import Record, event_of, sealed
from gateway.routing.codec import decode_state, encode_state
from gateway.routing.effective import Published, effective
from gateway.routing.events import Draft, Event
from gateway.routing.fold import RoutingState, fold, fold_all
from gateway.routing.table import RoutingTable

log = logging.getLogger(__name__)

_COMPACT_EVERY = 256  # revisions; the one who appends that revision does it
_KEEP = 1024  # records in the log itself
_READS = 3  # of a log that moves on, or has lost something, while it is read

P = ParamSpec("P")
T = TypeVar("T")


class History:
    """Reads and appends for one replica. `catch_up` and `append` are called one at a time."""

    def __init__(
        self,
        log: RevisionLog,
        live: LiveTable,
        *,
        pool: ThreadPoolExecutor,
        copy: LocalCopy | None = None,
        orders: LocalOrders | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = log
        self._live = live
        self._pool = pool
        self.copy = copy
        self._orders = orders
        self._clock = clock
        self._monotonic = monotonic
        self._heard = monotonic()
        self.error: str | None = None  # why the log cannot be used, if it cannot
        self.seen_at = 0.0  # when it last could, by the clock
        self._compacting: asyncio.Task[None] | None = None
        self._proving: asyncio.Task[None] | None = None
        self.owed: list[Draft] = []  # what is obeyed here and the log has not got

    @property
    def stale_seconds(self) -> float:
        """How long the log has not been heard of; 0 while it is there."""
        return 0.0 if self.error is None else self._monotonic() - self._heard

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a thread of the log's own."""
        work = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def load(self) -> bool:
        """Begin from the copy on this disk, or, where there is none, from the log's snapshot.
        Whether there was anything in it."""
        if self._orders is not None:
            self.owed = await self.call(self._orders.load)
            self._live.obey_locally(self.owed)
        records = await self.call(self.copy.load) if self.copy is not None else []
        if not records:
            return self.copy is not None and await self._head_start(self.copy)
        try:
            state = fold_all(map(event_of, records))
        except ValueError as error:
            log.error("the copy of the log is not used: %s", error)
            return False
        self._live.begin(state, records[-1].hash, records[-1].actor)
        return True

    async def catch_up(self) -> None:
        """Take in what the log has, give back what it lost, append what is owed.

        Raises LogUnavailable.
        """
        while True:
            known, chain = self._live.state.revision, self._live.hash
            try:
                records = await self.call(self.log.records, after=max(0, known - 1))
                if known and not _goes_on(records, known, chain):
                    await self._reconcile()
                    continue
            except LogUnavailable as error:
                self.lost(error)
                raise
            if not self.take(records):
                broken = LogUnavailable(
                    f"the log's entry after revision {self._live.state.revision} does not follow "
                    "it: the log was edited or lost an entry; look with `gateway audit verify`, "
                    "and restore the log"
                )
                self.lost(broken)
                raise broken
            self._there()
            if not self.owed:
                return
            await self._settle()

    async def events(self, known: Sequence[Event] = ()) -> Sequence[Event]:
        """The whole history up to what is served here: of the log, or of the copy while the log
        is away; `known`, as read before, where nothing has come since. Raises LogUnavailable
        where there is neither."""
        newest = (self._live.state.revision, self._live.hash)
        if known and (known[-1].revision, known[-1].hash) == newest:
            return known
        for _ in range(_READS):
            try:
                records = await self.call(self.log.records)
            except LogUnavailable:
                if self.copy is None:
                    raise
                break
            self.take(records)
            if len(records) >= self._live.state.revision:
                return await self.call(_events, records)
        if self.copy is not None:
            await self.copy.written()
            records = await self.call(self.copy.records)
        return await self.call(_events, records)

    async def table_at(
        self, revision: int, published: Published
    ) -> tuple[Event, RoutingTable, RoutingTable]:
        """The event of `revision`, the table before it and after it. Raises NotFound."""
        events = await self.events()
        if not 1 <= revision <= len(events):
            raise NotFound(
                f"there is no revision {revision}; the newest is {len(events)}", param="revision"
            )
        before = fold_all(events[: revision - 1])
        after = fold(before, events[revision - 1])
        return events[revision - 1], effective(before, published), effective(after, published)

    async def append(self, draft: Draft) -> Event:
        """Append on what is folded here, and fold it. Raises RevisionConflict, LogUnavailable."""
        record = sealed(draft, self._live.state.revision + 1, self._live.hash)
        try:
            await self.call(self.log.extend, [record])
        except LogUnavailable as error:
            self.lost(error)
            raise
        self._there()
        self.take([record])
        if self.copy is not None:
            await self.copy.written()
        if record.revision % _COMPACT_EVERY == 0:
            self._compacting = asyncio.create_task(
                self._compact(self._live.state, record), name="compact-log"
            )
        return event_of(record)

    def take(self, records: Sequence[Record]) -> bool:
        """Fold records that are new here. Stops at one that belongs to another history, and then
        answers False; `catch_up` finds out what is wrong."""
        for record in records:
            if record.revision <= self._live.state.revision:
                continue  # a command's own reading may be ahead
            if not self._live.follows(record):
                log.error("revision %s does not follow what is served here", record.revision)
                return False
            try:
                event = event_of(record)
            except ValueError as error:
                unreadable = LogUnavailable(f"revision {record.revision} cannot be read: {error}")
                self.lost(unreadable)
                raise unreadable from error
            self._live.take(event)
            if self.copy is not None:
                self.copy.add([record])
        return True

    def lost(self, error: LogUnavailable) -> None:
        """Note that the log cannot be used."""
        if self.error is None:
            revision = self._live.state.revision
            log.warning("the log is away, revision %s is served on: %s", revision, error.message)
        self.error = error.message

    async def order_locally(self, draft: Draft) -> bool:
        """Obey a disable or an abort here, and owe it to the log. Whether it is kept on disk
        already. Raises NotAllowed where it is owed already."""
        if any(order.change == draft.change for order in self.owed):
            raise NotAllowed("this is obeyed here already; the log is to get it")
        self.owed.append(draft)
        self._live.obey_locally(self.owed)
        return await self._save()

    def _there(self) -> None:
        if self.error is not None:
            log.warning("the log is back after %.1f s", self.stale_seconds)
        self.error, self.seen_at, self._heard = None, self._clock(), self._monotonic()

    async def close(self) -> None:
        """Close the log and the copy."""
        if self._proving is not None:
            self._proving.cancel()
            await asyncio.gather(self._proving, return_exceptions=True)
        if self.copy is not None:
            await self.copy.written()
            await asyncio.to_thread(self.copy.close)
        await asyncio.to_thread(self.log.close)

    async def _head_start(self, copy: LocalCopy) -> bool:
        """Begin from the log's snapshot, and prove it beside serving. Whether there was one."""
        try:
            found = await self.call(self.log.snapshot)
        except LogUnavailable as error:
            log.warning("the log's snapshot cannot be read: %s", error.message)
            return False
        if found is None:
            return False
        try:
            state = await self.call(decode_state, found.state)
        except ValueError as error:
            log.info("the log's snapshot is not used: %s", error)
            return False
        self._live.begin(state, found.hash, found.actor)
        copy.hold("the log is still being read")
        proof = prove(self.log, self._live, copy, state, self.call)
        self._proving = asyncio.create_task(proof, name="prove-snapshot")
        return True

    async def _compact(self, state: RoutingState, record: Record) -> None:
        """Keep a snapshot of `state`, which `record` led to, and move old records."""
        try:
            text = await self.call(encode_state, state)
            snapshot = Snapshot(record.revision, record.hash, record.actor, text)
            await self.call(self.log.keep_snapshot, snapshot)
            moved = await self.call(self.log.compact, keep=_KEEP)
        except LogUnavailable as error:  # the next one does it
            log.warning("the log was not compacted: %s", error.message)
        else:
            log.info("the log was compacted: %s records moved to its archive", moved)

    async def _save(self) -> bool:
        if self._orders is None:
            return False
        try:
            await self.call(self._orders.save, self.owed)
        except LogUnavailable as error:
            log.error("%s", error.message)
            return False
        return True

    async def _settle(self) -> None:
        """Append what is owed and not in force by now; each is dropped once the log has it."""
        while self.owed:
            draft = self.owed[0]
            if not in_force(draft.change, self._live.state):
                try:
                    await self.append(draft)
                except RevisionConflict:
                    return  # the caller catches up and comes again
            self.owed.pop(0)
            self._live.obey_locally(self.owed)
            await self._save()

    async def _reconcile(self) -> None:
        """The log has not got what is served here: restore it, or take over another history."""
        if self.copy is None:
            raise LogUnavailable(
                f"the log does not hold revision {self._live.state.revision}, which is served "
                "here; restore its file, or restart the gateway to serve what it holds"
            )
        await self.copy.written()
        theirs = await self.call(self.log.records)
        mine = await self.call(self.copy.records)
        known = self._live.state.revision
        if not mine or mine[-1].revision < known:
            raise LogUnavailable(
                f"the log does not hold revision {known}, which is served here, and neither does "
                f"the copy at {self.copy.path} ({self.copy.error}); restore the log"
            )
        common = _common(theirs, mine)
        if common == len(theirs):
            log.error("the log lost revisions %s to %s: restoring", common + 1, len(mine))
            try:
                await self.call(self.log.extend, mine[common:])
            except RevisionConflict:
                log.info("another replica came first")
            return
        log.error(
            "the log has another history from revision %s on; it is taken over, and the disables, "
            "rollbacks, aborts and revocations that it lost are appended again",
            common + 1,
        )
        state = fold_all(await self.call(_events, theirs))
        lost = lost_hands(await self.call(_events, mine[common:]), self._live.state, state)
        # First the log has them, and only then is its history served: at no moment is one of them
        # not in force here, and a crash in between begins again from the copy.
        again: list[Record] = []
        for draft in lost:
            last = again[-1] if again else theirs[-1]
            again.append(sealed(draft, last.revision + 1, last.hash))
        try:
            await self.call(self.log.extend, again)
        except RevisionConflict:
            return  # the caller reads it again
        whole = [*theirs, *again]
        self._live.begin(fold_all(_events(again), state), whole[-1].hash, whole[-1].actor)
        self.copy.begin_anew(whole)


def _events(records: Sequence[Record]) -> list[Event]:
    return [event_of(record) for record in records]


def _goes_on(records: Sequence[Record], known: int, chain: str) -> bool:
    """Whether the log still holds the event that is the newest here."""
    return bool(records) and records[0].revision == known and records[0].hash == chain


def _common(one: Sequence[Record], other: Sequence[Record]) -> int:
    """How many events from the first on are the same in both."""
    for count, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return count
    return min(len(one), len(other))
