"""The one writer of routing: commands and file edits become events, events become the live table.

Requests read `table`, a plain attribute swapped by one assignment; nothing on their way waits
here. Commands are appended to the log first and take effect once the log has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path

from gateway.access import two_persons
from gateway.control.adapters import KnownAdapters
from gateway.control.values import (
    Command,
    Committed,
    DecisionChange,
    FileStatus,
    changes_between,
    named,
    named_targets,
)
from gateway.control.watcher import signature, watch_file
from gateway.engine.base import Engine
from gateway.errors import (
    GatewayError,
    LogUnavailable,
    NotAllowed,
    NotFound,
    Problem,
    RevisionConflict,
    TableRejected,
)
from gateway.log.base import RevisionLog
from gateway.log.record import Record
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routesfile.parse import parse
from gateway.routesfile.validate import validate
from gateway.routing import commands
from gateway.routing.events import (
    API_SOURCE,
    AdapterApproved,
    AdapterRegistered,
    AdapterRevoked,
    Change,
    Draft,
    Event,
    InFlight,
    RoutePinned,
    TableApplied,
)
from gateway.routing.fold import RoutingState, adapter_state, effective, fold, fold_all
from gateway.routing.table import AdapterRef, RoutingTable, Target

log = logging.getLogger(__name__)

_POLL_S = 0.5
_SUBSCRIBER_BOUND = 1024

__all__ = ["Command", "Committed", "ControlPlane", "DecisionChange", "FileStatus", "OnSwap"]

OnSwap = Callable[[RoutingTable, RoutingTable, Event], None]


class ControlPlane:
    """Owns the state. All methods are for one event loop; the log is called in threads."""

    def __init__(
        self,
        log: RevisionLog,
        registry: Registry,
        engine: Engine,
        routes_path: Path,
        *,
        replica: str = "",
        two_person: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`replica` names this process in the events it makes. `two_person`: nobody approves the
        adapter that they registered."""
        self._replica = replica
        self._two_person = two_person
        self._log = log
        self._registry = registry
        self._engine = engine
        self._clock = clock
        # Tables queue for validation and loading, which are slow; every append queues for the log
        # alone, so that a disable never waits for a disk or for the engine.
        self._applying = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._coming: set[str] = set()  # adapters being made resident for a table to come
        self._moved_by: str | None = None
        self._adapters = KnownAdapters(registry, engine)
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self._on_swap: list[OnSwap] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.state = RoutingState()
        self.table: RoutingTable = effective(self.state)
        self.unavailable: dict[Target, str] = {}  # routed adapters not to be had here, and why
        self.file_status = FileStatus(routes_path, False, (), 0.0, 0)
        self.log_error: str | None = None
        self.log_seen_at = 0.0

    @property
    def artifacts(self) -> dict[str, AdapterArtifact]:
        """The adapters that the table may name, by digest. Read by the request path."""
        return self._adapters.artifacts

    async def start(self) -> None:
        """Replay the log, take in routes.yaml if it was edited, make the table's adapters
        resident, begin to watch.

        Raises TableRejected where an edited file is broken, LogUnavailable where the log is. An
        adapter that the table in the log names already, and that cannot be had, stops no start.
        """
        await asyncio.to_thread(self._adapters.read)
        await self._catch_up()
        seen = await asyncio.to_thread(signature, self.file_status.path)
        text = await asyncio.to_thread(self._read_file)
        source = str(self.file_status.path)
        await self.apply_text(text, source=source, command=Command("file"), keep=True)
        await self._adapters.try_all(named_targets(self.table))
        self._refresh()
        self._tasks = [
            asyncio.create_task(
                watch_file(self.file_status.path, seen, self._reload, self._stopping), name="watch"
            ),
            asyncio.create_task(self._follow(), name="follow-log"),
            asyncio.create_task(
                self._adapters.look_for_lost(lambda: list(self.unavailable), self._refresh),
                name="look-for-lost-adapters",
            ),
        ]

    async def close(self) -> None:
        """Stop watching and let subscribers end."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for queue in self._subscribers:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(None)
        await asyncio.to_thread(self._log.close)

    def on_swap(self, callback: OnSwap) -> None:
        """Call `callback(old, new, event)` after every swap, on the event loop."""
        self._on_swap.append(callback)

    async def subscribe(self) -> AsyncIterator[Event]:
        """Events from now on. Ends at close, or where the reader fell too far behind."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(_SUBSCRIBER_BOUND)
        self._subscribers.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._subscribers.discard(queue)

    # Commands.

    async def apply_text(
        self,
        text: str,
        *,
        source: str,
        command: Command,
        dry_run: bool = False,
        keep: bool = False,
    ) -> Committed:
        """Validate a whole routes.yaml, make its adapters resident, and make it a revision.

        Text equal to what was last applied changes nothing; nor does the file's while it is
        what was last taken from the file, so that no restart undoes a table that came over the
        API. `keep`: adapters that the table in force names are taken unseen. Raises
        TableRejected, RevisionConflict.
        """
        digest = hashlib.sha256(text.encode()).hexdigest()
        kept = self._named_by_routes() if keep else {}
        is_file = source != API_SOURCE and not dry_run
        async with self._applying:
            if is_file and digest == self.state.file_digest:
                self._file_read(True, ())
                return Committed(None, self.state.revision, ())
            try:
                table = await asyncio.to_thread(self._validated, text, source, digest, kept)
                if dry_run:
                    changes = changes_between(self.table, self._preview(table))
                    return Committed(None, self.state.revision, changes)
                done = await self._apply(table, command, {t.digest for t in kept.values()})
            except GatewayError as error:
                if is_file:
                    problems = (
                        error.problems
                        if isinstance(error, TableRejected)
                        else (Problem(error.message, "", source),)
                    )
                    self._file_read(False, problems)
                raise
        if is_file:
            self._file_read(True, ())
        return done

    async def _apply(
        self, table: TableApplied, command: Command, kept: Collection[str | None]
    ) -> Committed:
        async def decide() -> Change:
            return table

        wanted = (named(self._preview(table)) & self.artifacts.keys()) - set(kept)
        try:
            await self._make_resident(wanted)
            async with self._lock:
                # An edit to what came over the API already is an event all the same: the log has
                # to know that the file was taken, or a restart would take it again.
                from_api = table.source == API_SOURCE
                state = self.state
                if table.digest == (state.table_digest if from_api else state.file_digest):
                    return Committed(None, self.state.revision, ())
                return await self._commit(decide, command)
        finally:
            self._coming = set()
            self._engine.set_pinned(named(self.table))

    async def disable(
        self, workflow: str, command: Command, *, in_flight: InFlight = "finish"
    ) -> Committed:
        """Send `workflow` to its fallback until it is enabled. Never waits for the engine."""

        async def decide() -> Change:
            return commands.disable(self.state, workflow, in_flight)

        async with self._lock:
            return await self._commit(decide, command)

    async def enable(self, workflow: str, command: Command) -> Committed:
        """Lift a disable."""

        async def decide() -> Change:
            return commands.enable(self.state, workflow)

        async with self._lock:
            return await self._commit(decide, command)

    async def resume(self, workflow: str, command: Command) -> Committed:
        """Lift a rollback's pin."""

        async def decide() -> Change:
            return commands.resume(self.state, workflow)

        async with self._lock:
            return await self._commit(decide, command)

    async def amend(
        self, decide_on: Callable[[RoutingState], Change], command: Command
    ) -> Committed:
        """Append the change that `decide_on` makes of the state then in force; for what no engine
        and no registry has a say in, as keys. Raises what `decide_on` raises."""

        async def decide() -> Change:
            return decide_on(self.state)

        async with self._lock:
            return await self._commit(decide, command)

    async def rollback(
        self,
        workflow: str,
        command: Command,
        *,
        to_revision: int | None = None,
        in_flight: InFlight = "finish",
    ) -> Committed:
        """Pin `workflow` to its route at an earlier revision (the newest different one).

        Waits for the engine only where the route's adapter is in no slot any more.
        """

        async def decide() -> RoutePinned:
            events = await asyncio.to_thread(self._log.read)
            self._take_all(events)  # the pin is decided, and appended, on this very log
            published = self._adapters.published
            pin = commands.rollback(events, workflow, to_revision, in_flight, published)
            digest = pin.route.target.digest
            if digest is not None and digest not in self.artifacts:
                raise NotAllowed(
                    f"{pin.route.target} is no longer in the registry; {workflow} cannot go back "
                    "to it (choose another revision with --to, or disable the workflow)"
                )
            return pin

        # Looked at once outside the lock, so that a load holds no disable up.
        digest = (await decide()).route.target.digest
        if digest is not None and digest not in self._engine.stats().resident_adapters:
            await self._adapters.load(digest)
        async with self._lock:
            return await self._commit(decide, command)

    async def register(self, artifact: AdapterArtifact, command: Command) -> Committed:
        """Record who brought an adapter in. Who brings it again is not recorded."""

        async def decide() -> Change:
            return AdapterRegistered(artifact.ref, artifact.digest)

        async with self._lock:
            await self._catch_up()
            if artifact.digest in self.state.registered:
                return Committed(None, self.state.revision, ())
            return await self._commit(decide, command)

    async def approve(self, ref: AdapterRef, command: Command) -> Committed:
        """Let routes name the adapter."""
        return await self._judge(ref, command, AdapterState.APPROVED)

    async def revoke(self, ref: AdapterRef, command: Command) -> Committed:
        """Take the adapter out of service: its routes go to their fallback at once."""
        return await self._judge(ref, command, AdapterState.REVOKED)

    # Reads.

    def adapter_state(self, artifact: AdapterArtifact) -> AdapterState:
        """The state in force: the log's verdict, else what was published."""
        return adapter_state(self.state, artifact.digest, artifact.state) or artifact.state

    def lose(self, target: Target, why: str) -> None:
        """A request found that the adapter cannot be loaded: its routes go to their fallback."""
        self._adapters.lose(target, why)
        self._refresh()
        self._adapters.look.set()

    async def history(self, *, before: int | None = None, limit: int = 50) -> list[Event]:
        """Events, newest first, with revision < `before`."""
        events = await asyncio.to_thread(self._log.read)
        chosen = [e for e in events if before is None or e.revision < before]
        return chosen[::-1][:limit]

    async def records(self, *, after: int, limit: int) -> list[Record]:
        """The log as it is stored, oldest first: for audit."""
        return list(await asyncio.to_thread(self._log.records, after=after, limit=limit))

    async def table_at(self, revision: int) -> tuple[Event, RoutingTable, RoutingTable]:
        """The event of `revision`, the table before it and the table after it.

        Raises NotFound where there is no such revision.
        """
        events = await asyncio.to_thread(self._log.read)
        if not 1 <= revision <= len(events):
            raise NotFound(
                f"there is no revision {revision}; the newest is {len(events)}", param="revision"
            )
        before = fold_all(events[: revision - 1])
        after = fold(before, events[revision - 1])
        find = self._adapters.published
        return events[revision - 1], effective(before, find), effective(after, find)

    # Inside.

    async def _judge(self, ref: AdapterRef, command: Command, verdict: AdapterState) -> Committed:
        # What is to be taken out of service need not be readable any more.
        known = next((a for a in self.artifacts.values() if a.ref == ref), None)
        if known is None or verdict is AdapterState.APPROVED:
            known = await asyncio.to_thread(self._registry.get, ref)
            await asyncio.to_thread(self._adapters.read)
        artifact = known
        if verdict is AdapterState.APPROVED:
            await asyncio.to_thread(self._engine.check_adapter, artifact)

        async def decide() -> Change:
            if self.adapter_state(artifact) is verdict:
                raise NotAllowed(f"{ref} is {verdict} already")
            if verdict is AdapterState.APPROVED:
                if self._two_person:
                    two_persons.check(self.state, ref, artifact.digest, command.actor)
                return AdapterApproved(ref, artifact.digest)
            return AdapterRevoked(ref, artifact.digest)

        async with self._lock:
            return await self._commit(decide, command)

    async def _commit(self, decide: Callable[[], Awaitable[Change]], command: Command) -> Committed:
        """Catch up, decide, append and swap. Call with the lock held.

        A command that names its revision fails where the log has moved; one that names none is
        decided again on what the log holds then.
        """
        expected = command.expected_revision
        while True:
            await self._catch_up()
            if expected is not None and expected != self.state.revision:
                raise RevisionConflict(
                    f"the log is at revision {self.state.revision}, moved by {self._moved_by}; "
                    f"this was decided on revision {expected}",
                    expected=expected,
                    actual=self.state.revision,
                    actor=self._moved_by,
                )
            change = await decide()
            before, decided_on = self.table, self.state.revision
            origin = "/".join(part for part in (self._replica, command.origin) if part)
            draft = Draft(change, command.actor, command.reason, self._clock(), origin)
            try:
                event = await asyncio.to_thread(self._log.append, draft, expected=decided_on)
            except RevisionConflict:
                if expected is not None:
                    raise
                continue
            except LogUnavailable as error:
                self.log_error = error.message
                raise
            self._take_all([event])
            return Committed(event, event.revision, changes_between(before, self.table))

    async def _catch_up(self) -> None:
        try:
            events = await asyncio.to_thread(self._log.read, after=self.state.revision)
        except LogUnavailable as error:
            self.log_error = error.message
            raise
        self.log_error, self.log_seen_at = None, self._clock()
        self._take_all(events)

    def _take_all(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.revision > self.state.revision:  # a command's own reading may be ahead
                self._take(event)

    def _take(self, event: Event) -> None:
        """Fold one event and swap the live table."""
        old = self.table
        self.state = fold(self.state, event)
        self._refresh()
        if self.unavailable:  # perhaps published since the registry was last read
            self._adapters.look.set()
        self._moved_by = event.actor
        for callback in self._on_swap:
            try:
                callback(old, self.table, event)
            except Exception:  # the event is durable and live: nothing may stop halfway
                log.exception("a listener failed on revision %s", event.revision)
        for queue in list(self._subscribers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                # The reader resumes from the log by its last revision; waiting would stall all.
                self._subscribers.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)

    def _refresh(self) -> None:
        """Swap the live table for what state and adapters come to now."""
        self.table = effective(self.state, self._adapters.published, self._adapters.lost)
        self._engine.set_pinned(named(self.table) | self._coming)
        lost = {target: self._adapters.lost(target) for target in named_targets(self.table)}
        self.unavailable = {target: why for target, why in lost.items() if why is not None}

    async def _follow(self) -> None:
        """Obey events that another process appended (the CLI, while admin was unreachable)."""
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _POLL_S)
                return
            try:
                async with self._lock:
                    await self._catch_up()
            except LogUnavailable:  # said in `log_error`; tried again
                log.warning("the log cannot be read; serving revision %s", self.state.revision)

    async def _reload(self) -> None:
        source = str(self.file_status.path)
        self._adapters.look.set()
        try:
            text = await asyncio.to_thread(self._read_file)
            await self.apply_text(text, source=source, command=Command("file"))
        except TableRejected as error:
            log.error("routes.yaml was not accepted, the last good table stays:\n%s", error)
        except GatewayError as error:
            log.error("routes.yaml could not be applied: %s", error)
        except Exception as error:  # the watch must outlive whatever a file can hold
            log.exception("routes.yaml could not be applied")
            self._file_read(False, (Problem(f"could not be applied: {error!r}", "", source),))

    def _read_file(self) -> str:
        path = self.file_status.path
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = Problem(f"cannot be read: {error}", "", str(path))
            self._file_read(False, (problem,))
            raise TableRejected([problem]) from None

    def _file_read(self, ok: bool, problems: tuple[Problem, ...]) -> None:
        revision = self.state.revision if ok else self.file_status.applied_revision
        self.file_status = FileStatus(self.file_status.path, ok, problems, self._clock(), revision)

    def _named_by_routes(self) -> dict[AdapterRef, Target]:
        routes = self.state.routes.values()
        targets = [target for route in routes for target in (route.target, route.fallback)]
        return {target.ref: target for target in targets if target.ref is not None}

    def _validated(
        self, text: str, source: str, digest: str, kept: Mapping[AdapterRef, Target]
    ) -> TableApplied:
        self._adapters.read()
        file = parse(text, source)
        routes = validate(file, self._registry, self.adapter_state, self._engine, kept)
        return TableApplied(routes, source, digest)

    def _preview(self, change: Change) -> RoutingTable:
        event = Event(self.state.revision + 1, change, "", "", 0.0)
        return effective(fold(self.state, event), self._adapters.published)

    async def _make_resident(self, digests: set[str]) -> None:
        self._coming = digests
        self._engine.set_pinned(named(self.table) | digests)
        for digest in sorted(digests):
            await self._adapters.load(digest)
