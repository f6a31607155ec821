"""The control plane of one replica: commands and file edits become events, events the live table.

Requests read `table`, a plain attribute swapped by one assignment; nothing on their way waits
here. Commands are appended to the log first and take effect once the log has them, everywhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.control.adapters import KnownAdapters
from gateway.control.appending import Appender
from gateway.control.copy import LocalCopy, LocalOrders
from gateway.control.fleet import AloneRegister, Beat, Fleet, Register, Waits
from gateway.control.follower import Follower
from gateway.control.gate import Pending
from gateway.control.history import History
from gateway.control.intake import TableIntake
from gateway.control.live import LiveTable, OnSwap
from gateway.control.operations import Operations
from gateway.control.retreat import Retreat
from gateway.control.values import (
    Command,
    Committed,
    DecisionChange,
    FileStatus,
    digests_of,
)
from gateway.control.watcher import signature, watch_file
from gateway.engine.base import Engine
from gateway.errors import EngineUnavailable, LogUnavailable
from gateway.log.base import RevisionLog
from gateway.log.record import Record
from gateway.registry.base import AdapterRegistry
from gateway.registry.values import AdapterArtifact
from gateway.routesfile.validate import ProbeFault
from gateway.routing import commands
from gateway.routing.events import (
    Draft,
    Event,
)
from gateway.routing.fold import RoutingState
from gateway.routing.past import Step, past
from gateway.routing.table import RoutingTable, Target

log = logging.getLogger(__name__)

_LOG_THREADS = 4

__all__ = ["Command", "Committed", "ControlPlane", "DecisionChange", "FileStatus", "OnSwap"]


class ControlPlane(Operations):
    """Owns the parts. All methods are for one event loop; the log is called in threads."""

    def __init__(
        self,
        log: RevisionLog,
        registry: AdapterRegistry,
        engine: Engine,
        routes_path: Path,
        *,
        replica: str = "",
        two_person: bool = False,
        local: Path | None = None,
        register: Register | None = None,
        clock: Callable[[], float] = time.time,
        probe_fault: ProbeFault | None = None,
    ) -> None:
        """`replica` names this process in the events it makes and among the others of `register`.
        `two_person`: nobody approves the adapter that they registered. `local` is the folder for
        its own copy of a log that other machines hold. `probe_fault`: see `validate`."""
        self.replica = replica
        self._pool = ThreadPoolExecutor(_LOG_THREADS, thread_name_prefix="log")
        adapters = KnownAdapters(registry, engine)
        live = LiveTable(adapters, self._derived)
        history = History(
            log,
            live,
            pool=self._pool,
            copy=None if local is None else LocalCopy(local, self._pool),
            orders=None if local is None else LocalOrders(local),
            clock=clock,
        )
        appender = Appender(history, live, replica, clock)
        super().__init__(appender, history, live, adapters, registry, engine, two_person=two_person)
        self._intake = TableIntake(
            routes_path,
            registry,
            engine,
            adapters,
            live,
            self.adapter_state,
            appender.commit,
            clock,
            probe_fault,
        )
        self.fleet = Fleet(register or AloneRegister(), self._beat, history.call)
        self.fleet.on_beat = Retreat(
            lambda: self.fleet.name, live, adapters, history.events, appender.commit
        ).consider
        self._follower = Follower(
            log,
            revision=lambda: self.state.revision,
            take=history.take,
            catch_up=self._keep_up,
            lost=history.lost,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._coming_up: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._started = clock()
        self._addresses = ("", "")  # of the inference and the admin API
        self.not_ready: str | None = "the gateway is starting"

    # What requests and probes read.

    @property
    def table(self) -> RoutingTable:
        """The live table. Requests resolve against it."""
        return self._live.table

    @property
    def state(self) -> RoutingState:
        """The fold of the log, as far as this replica has it."""
        return self._live.state

    @property
    def artifacts(self) -> dict[str, AdapterArtifact]:
        """The adapters that the table may name, by digest. Read by the request path."""
        return self._adapters.artifacts

    @property
    def unavailable(self) -> dict[Target, str]:
        """Routed adapters that are not to be had here, and why."""
        return self._adapters.unavailable

    @property
    def registry_error(self) -> str | None:
        """Why the registry cannot be asked, if it cannot; what is held is served on."""
        return self._adapters.away

    @property
    def pending(self) -> dict[str, Pending]:
        """The workflows whose new route waits for its adapter here."""
        return self._live.pending

    @property
    def file_status(self) -> FileStatus:
        """How the last reading of routes.yaml went."""
        return self._intake.status

    @property
    def log_error(self) -> str | None:
        """Why the log cannot be used, if it cannot."""
        return self._history.error

    @property
    def stale_seconds(self) -> float:
        """How long the log has not been heard of; 0 while it is there."""
        return self._history.stale_seconds

    @property
    def copy_error(self) -> str | None:
        """Why this replica's copy of the log is behind, if it is."""
        return None if self._history.copy is None else self._history.copy.error

    @property
    def owed(self) -> Sequence[Draft]:
        """The orders that are obeyed here and the log has not got yet."""
        return self._live.local

    # Its life.

    async def start(self) -> None:
        """Replay the log, take in routes.yaml if it was edited, make the table's adapters
        resident, begin to watch.

        Raises TableRejected where an edited file is broken, LogUnavailable where a log on this
        disk is. A log elsewhere that is away stops no start: the last copy is served, or, where
        there is none, the gateway is not ready and says so. So it is where every server of the
        model is away. Nor does an adapter that the table in the log names already and that cannot
        be had.
        """
        await asyncio.to_thread(self._adapters.read)
        copied = await self._history.load()
        seen = await asyncio.to_thread(signature, self.file_status.path)
        try:
            await self._appender.catch_up()
        except LogUnavailable as error:
            if self._history.copy is None:
                raise
            self._intake.postpone(error)
            self.not_ready = None
            if not copied:
                self.not_ready = (
                    f"there is no table to serve: of the log, {error.message}; of its copy "
                    f"{self._history.copy.path}, nothing that this version can read"
                )
                log.error("not ready: %s", self.not_ready)
        else:
            self.not_ready = None
            try:
                await self._intake.take_file(keep=True)
            except EngineUnavailable as error:
                self._intake.postpone(error)
                log.error("routes.yaml is not taken in yet: %s", error.message)
                if not self.state.table_digest:
                    self.not_ready = error.message
        await self._adapters.try_all(self._live.named)
        self._live.refresh()
        self._tasks = [
            asyncio.create_task(work, name=name)
            for name, work in {
                "watch": watch_file(
                    self.file_status.path, seen, self._intake.reload, self._stopping
                ),
                "look-for-lost-adapters": self._adapters.look_for_lost(self._live.refresh),
                "check-adapters": self._adapters.check_presumed(self._live.refresh),
                "beat": self.fleet.run(),
                "learn-routes": self._intake.learn(),
            }.items()
        ]
        self._follower.start()

    async def close(self) -> None:
        """Stop watching, leave the fleet and let subscribers end. Idempotent."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._follower.stop()
        tasks = [*self._tasks, *([self._coming_up] if self._coming_up else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._live.end()
        if self._tasks:
            await self.fleet.leave()
        await self._history.close()
        await asyncio.to_thread(self._follower.join)
        self._pool.shutdown(wait=False)

    def announce(self, inference: str, admin: str) -> None:
        """Tell the others where this replica's APIs are."""
        self._addresses = (inference, admin)
        self.fleet.changed()

    def on_swap(self, callback: OnSwap) -> None:
        """Call `callback(old, new, event)` after every swap, on the event loop."""
        self._live.on_swap(callback)

    def subscribe(self) -> AsyncIterator[Event]:
        """Events from now on. Ends at `hang_up`, or where the reader fell too far behind."""
        return self._live.subscribe()

    def hang_up(self) -> None:
        """Let subscribers end: a stop does not wait for those who would listen for ever."""
        self._live.end()

    async def apply_text(
        self, text: str, *, source: str, command: Command, dry_run: bool = False
    ) -> Committed:
        """Validate a whole routes.yaml, make its adapters resident, and make it a revision.

        Text equal to what was last applied changes nothing; nor does the file's while it is
        what was last taken from the file, so that no restart undoes a table that came over the
        API. Raises TableRejected, RevisionConflict.
        """
        return await self._intake.apply(text, source=source, command=command, dry_run=dry_run)

    # Reads.

    def can_serve(self, target: Target) -> bool:
        """Whether requests may go to `target` here: it is not revoked, and to be had."""
        return self._live.usable(target)

    def lose(self, target: Target, why: str) -> None:
        """A request found that the adapter cannot be loaded: its routes go to their fallback."""
        self._adapters.lose(target, why)
        self._live.refresh()
        self._adapters.look.set()

    async def history(self, *, before: int | None = None, limit: int = 50) -> list[Event]:
        """Events, newest first, with revision < `before`."""
        events = await self._history.events()
        chosen = [e for e in events if before is None or e.revision < before]
        return chosen[::-1][:limit]

    async def records(self, *, after: int, limit: int) -> Sequence[Record]:
        """The log as it is stored, oldest first: for audit."""
        return await self._history.call(self._history.log.records, after=after, limit=limit)

    async def table_at(self, revision: int) -> tuple[Event, RoutingTable, RoutingTable]:
        """The event of `revision`, the table before it and the table after it.

        Raises NotFound.
        """
        return await self._history.table_at(revision, self._adapters.published)

    async def past_of(self, workflow: str) -> list[Step]:
        """What `workflow` went to over the whole log, oldest first. Raises NotFound."""
        commands.require_workflow(self.state, workflow)
        events = await self._history.events()
        published, held = self._adapters.published, set(self.artifacts)
        return await self._history.call(past, events, workflow, published, held)

    # Inside.

    async def _keep_up(self) -> None:
        """What the follower asks for at its start, and after every silence of the log."""
        await self._appender.catch_up()
        behind = self._intake.postponed or self.not_ready is not None
        if behind and (self._coming_up is None or self._coming_up.done()):
            self._coming_up = asyncio.create_task(self._come_up(), name="come-up")

    async def _come_up(self) -> None:
        """The log, or a server, may be back: take the file in, and serve what the log has. Asked
        for again until there is a table: the file may be mended, or another replica's accepted."""
        if self._intake.postponed:
            await self._intake.reload()
        await self._adapters.try_all(self._live.named)
        self._live.refresh()
        if self._intake.postponed or self.not_ready is None:
            return  # away again, or all is well
        self.not_ready = None
        if not self.state.table_digest:
            self.not_ready = "routes.yaml was not accepted, and the log has no table"

    def _beat(self) -> Beat:
        pending = {
            name: Waits(str(p.target), p.since, self._adapters.fault(p.target))
            for name, p in self.pending.items()
        }
        return Beat(self.replica, self.state.revision, *self._addresses, self._started, pending)

    def _derived(self) -> None:
        """After every change of the table: what it names stays loaded, and the others are told."""
        named = self._live.named
        self._engine.set_pinned(digests_of(named) | self._intake.coming)
        waiting = {pending.target for pending in self.pending.values()}
        self._adapters.need(named | waiting)
        self.fleet.changed()
