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
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.control.watcher import watch_file
from gateway.engine.base import Engine
from gateway.errors import (
    GatewayError,
    LogUnavailable,
    NotAllowed,
    NotFound,
    Problem,
    TableRejected,
)
from gateway.log.base import RevisionLog
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routesfile.parse import parse
from gateway.routesfile.validate import validate
from gateway.routing import commands
from gateway.routing.events import (
    AdapterApproved,
    AdapterRevoked,
    Change,
    Draft,
    Event,
    InFlight,
    TableApplied,
)
from gateway.routing.fold import RoutingState, adapter_state, effective, fold, fold_all
from gateway.routing.table import AdapterRef, Decision, RoutingTable

log = logging.getLogger(__name__)

_POLL_S = 0.5
_SUBSCRIBER_BOUND = 1024

OnSwap = Callable[[RoutingTable, RoutingTable, Event], None]


@dataclass(frozen=True, slots=True)
class Command:
    """Who asks, why, and the revision it was decided on (None: whatever is newest)."""

    actor: str
    reason: str = ""
    expected_revision: int | None = None


@dataclass(frozen=True, slots=True)
class DecisionChange:
    """One workflow before and after; None where it did not or does not exist."""

    workflow: str
    before: Decision | None
    after: Decision | None


@dataclass(frozen=True, slots=True)
class Committed:
    """An accepted command (`event` None for a dry run or where nothing was to change)."""

    event: Event | None
    revision: int
    changes: tuple[DecisionChange, ...]


@dataclass(frozen=True, slots=True)
class FileStatus:
    """How the last reading of routes.yaml went."""

    path: Path
    ok: bool
    problems: tuple[Problem, ...]
    loaded_at: float  # seconds since the epoch
    applied_revision: int


class ControlPlane:
    """Owns the state. All methods are for one event loop; the log is called in threads."""

    def __init__(
        self,
        log: RevisionLog,
        registry: Registry,
        engine: Engine,
        routes_path: Path,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._registry = registry
        self._engine = engine
        self._clock = clock
        self._lock = asyncio.Lock()  # one change at a time from this process
        self._published: dict[str, AdapterState] = {}
        self._artifacts: dict[str, AdapterArtifact] = {}
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self._on_swap: list[OnSwap] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.state = RoutingState()
        self.table: RoutingTable = effective(self.state)
        self.file_status = FileStatus(routes_path, False, (), 0.0, 0)
        self.log_error: str | None = None
        self.log_seen_at = 0.0

    @property
    def artifacts(self) -> dict[str, AdapterArtifact]:
        """The adapters that the table may name, by digest. Read by the request path."""
        return self._artifacts

    async def start(self) -> None:
        """Replay the log, take in routes.yaml, make its adapters resident, begin to watch.

        Raises TableRejected where the file is broken, LogUnavailable where the log is.
        """
        await asyncio.to_thread(self._read_registry)
        await self._catch_up()
        text = await asyncio.to_thread(self._read_file)
        await self.apply_text(text, source=str(self.file_status.path), command=Command("file"))
        await self._make_resident(self.table)
        self._tasks = [
            asyncio.create_task(
                watch_file(self.file_status.path, self._reload, self._stopping), name="watch"
            ),
            asyncio.create_task(self._follow(), name="follow-log"),
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
        self, text: str, *, source: str, command: Command, dry_run: bool = False
    ) -> Committed:
        """Validate a whole routes.yaml, make its adapters resident, and make it a revision.

        Text equal to what was last applied changes nothing. Raises TableRejected, RevisionConflict.
        """
        digest = hashlib.sha256(text.encode()).hexdigest()
        is_file = source == str(self.file_status.path)
        async with self._lock:
            try:
                table = await asyncio.to_thread(self._validated, text, source, digest)
                if not dry_run:
                    after = self._preview(table)
                    await self._make_resident(after)
            except GatewayError as error:
                if is_file:
                    problems = (
                        error.problems
                        if isinstance(error, TableRejected)
                        else (Problem(error.message, "", source),)
                    )
                    self._file_read(False, problems)
                raise
            if dry_run:
                changes = _changes(self.table, self._preview(table))
                return Committed(None, self.state.revision, changes)
            if digest == self.state.table_digest:
                done = Committed(None, self.state.revision, ())
            else:
                done = await self._commit(lambda: table, command)
        if is_file:
            self._file_read(True, ())
        return done

    async def disable(
        self, workflow: str, command: Command, *, in_flight: InFlight = "finish"
    ) -> Committed:
        """Send `workflow` to its fallback until it is enabled. Never waits for the engine."""
        async with self._lock:
            return await self._commit(
                lambda: commands.disable(self.state, workflow, in_flight), command
            )

    async def enable(self, workflow: str, command: Command) -> Committed:
        """Lift a disable."""
        async with self._lock:
            return await self._commit(lambda: commands.enable(self.state, workflow), command)

    async def resume(self, workflow: str, command: Command) -> Committed:
        """Lift a rollback's pin."""
        async with self._lock:
            return await self._commit(lambda: commands.resume(self.state, workflow), command)

    async def rollback(
        self,
        workflow: str,
        command: Command,
        *,
        to_revision: int | None = None,
        in_flight: InFlight = "finish",
    ) -> Committed:
        """Pin `workflow` to its route at an earlier revision (the newest different one)."""
        async with self._lock:
            events = await asyncio.to_thread(self._log.read)
            return await self._commit(
                lambda: commands.rollback(
                    events, workflow, to_revision, in_flight, self._published.get
                ),
                command,
            )

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

    async def history(self, *, before: int | None = None, limit: int = 50) -> list[Event]:
        """Events, newest first, with revision < `before`."""
        events = await asyncio.to_thread(self._log.read)
        chosen = [e for e in events if before is None or e.revision < before]
        return chosen[::-1][:limit]

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
        find = self._published.get
        return events[revision - 1], effective(before, find), effective(after, find)

    # Inside.

    async def _judge(self, ref: AdapterRef, command: Command, verdict: AdapterState) -> Committed:
        artifact = await asyncio.to_thread(self._registry.get, ref)
        await asyncio.to_thread(self._read_registry)

        def change() -> Change:
            if self.adapter_state(artifact) is verdict:
                raise NotAllowed(f"{ref} is {verdict} already")
            if verdict is AdapterState.APPROVED:
                return AdapterApproved(ref, artifact.digest)
            return AdapterRevoked(ref, artifact.digest)

        async with self._lock:
            if verdict is AdapterState.APPROVED:
                await asyncio.to_thread(self._engine.check_adapter, artifact)
            return await self._commit(change, command)

    async def _commit(self, change: Callable[[], Change], command: Command) -> Committed:
        """Catch up, decide, append and swap; the log refuses it where it has moved meanwhile."""
        await self._catch_up()
        before = self.table
        expected = command.expected_revision
        draft = Draft(change(), command.actor, command.reason, self._clock())
        event = await asyncio.to_thread(
            self._log.append,
            draft,
            expected=self.state.revision if expected is None else expected,
        )
        self._take(event)
        return Committed(event, event.revision, _changes(before, self.table))

    async def _catch_up(self) -> None:
        try:
            events = await asyncio.to_thread(self._log.read, after=self.state.revision)
        except LogUnavailable as error:
            self.log_error = error.message
            raise
        self.log_error, self.log_seen_at = None, self._clock()
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        """Fold one event and swap the live table."""
        old = self.table
        self.state = fold(self.state, event)
        self.table = effective(self.state, self._published.get)
        self._engine.set_pinned(_digests(self.table))
        for callback in self._on_swap:
            callback(old, self.table, event)
        for queue in list(self._subscribers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                # The reader resumes from the log by its last revision; waiting would stall all.
                self._subscribers.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)

    async def _follow(self) -> None:
        """Obey events that another process appended (the CLI, while admin was unreachable)."""
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _POLL_S)
                return
            try:
                async with self._lock:
                    await self._catch_up()
            except LogUnavailable:
                log.warning("the log cannot be read; serving revision %s", self.state.revision)

    async def _reload(self) -> None:
        source = str(self.file_status.path)
        try:
            text = await asyncio.to_thread(self._read_file)
            await self.apply_text(text, source=source, command=Command("file"))
        except TableRejected as error:
            log.error("routes.yaml was not accepted, the last good table stays:\n%s", error)
        except GatewayError as error:
            log.error("routes.yaml could not be applied: %s", error)

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

    def _read_registry(self) -> None:
        for ref in self._registry.refs():
            try:
                artifact = self._registry.get(ref)
            except GatewayError as error:
                log.error("adapter %s is left out: %s", ref, error)
                continue
            self._published[artifact.digest] = artifact.state
            self._artifacts[artifact.digest] = artifact

    def _validated(self, text: str, source: str, digest: str) -> TableApplied:
        self._read_registry()
        routes = validate(parse(text, source), self._registry, self.adapter_state, self._engine)
        return TableApplied(routes, source, digest)

    def _preview(self, change: Change) -> RoutingTable:
        event = Event(self.state.revision + 1, change, "", "", 0.0)
        return effective(fold(self.state, event), self._published.get)

    async def _make_resident(self, table: RoutingTable) -> None:
        digests = _digests(table)
        self._engine.set_pinned(digests | _digests(self.table))
        for digest in sorted(digests):
            await self._engine.make_resident(self._artifacts[digest])


def _digests(table: RoutingTable) -> set[str]:
    """The adapters that routes name, also those of disabled ones: an enable must find them."""
    targets = [t for d in table.decisions.values() for t in (d.target, d.route.target)]
    return {target.digest for target in targets if target.digest is not None}


def _changes(before: RoutingTable, after: RoutingTable) -> tuple[DecisionChange, ...]:
    """The workflows whose target, reason or route differ."""
    changed = []
    for name in sorted({*before.decisions, *after.decisions}):
        old, new = before.decisions.get(name), after.decisions.get(name)
        if (
            old is None
            or new is None
            or (old.target, old.reason, old.route) != (new.target, new.reason, new.route)
        ):
            changed.append(DecisionChange(name, old, new))
    return tuple(changed)
