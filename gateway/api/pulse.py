"""What people who watch this gateway are told, as it happens: changes of the table at once, and
rates, guards and the fleet each second.

One reading a second serves all watchers, and nothing is read while nobody watches. A watcher that
does not keep up is let go: it comes back and begins with the whole. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from gateway.api import rates
from gateway.api.answers import Shown, ShownChange, ShownEvent, differences
from gateway.api.guard_admin import ShownGuard
from gateway.api.health import ShownFile, ShownLog, ShownReplica
from gateway.control.fleet import Seen
from gateway.control.plane import ControlPlane
from gateway.engine.base import Engine, EngineStats
from gateway.guard.watch import Watch
from gateway.guard.watched import Watched
from gateway.metrics import Metrics
from gateway.routing.events import Event, EventKind
from gateway.routing.table import RoutingTable

log = logging.getLogger(__name__)

TICK_S = 1.0
_BOUND = 64  # messages that a watcher may be behind
_GUARDS = 16  # that are told of in one message; the others come with the next


class Moved(Shown):
    """A revision that was just taken in, and what it changed. For the event whole, ask for it."""

    revision: int
    kind: EventKind
    actor: str
    reason: str
    at: float = Field(description="seconds since the epoch")
    changes: list[ShownChange]

    @classmethod
    def of(cls, old: RoutingTable, new: RoutingTable, event: Event) -> Moved:
        shown = ShownEvent.of(event)
        return cls(
            revision=shown.revision,
            kind=shown.kind,
            actor=shown.actor,
            reason=shown.reason,
            at=shown.at,
            changes=differences(old.decisions, new.decisions),
        )


class Table(Shown):
    """The live table is another one: ask for the routes again."""

    revision: int


class Guarded(Shown):
    """Guards that saw something new; of each workflow that is named here, all there are."""

    guards: list[ShownGuard]
    gone: list[str] = Field(description="workflows of which nothing is watched any more")


class Health(Shown):
    """The state of this replica and of the others."""

    ready: str = Field(description="ok, or why requests for workflows are refused")
    log: ShownLog
    routes_file: ShownFile
    unavailable_adapters: dict[str, str]
    stats: EngineStats
    replicas: list[ShownReplica]


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event."""

    name: str
    data: str  # JSON

    def __str__(self) -> str:
        return f"event: {self.name}\ndata: {self.data}\n\n"


class Pulse:
    """See the module. `started` is when this process began, in seconds since the epoch."""

    def __init__(
        self, plane: ControlPlane, engine: Engine, guards: Watch, metrics: Metrics
    ) -> None:
        self._plane = plane
        self._engine = engine
        self._guards = guards
        self._metrics = metrics
        self._watchers: set[asyncio.Queue[Message | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._table: RoutingTable | None = None
        self._waiting: frozenset[str] = frozenset()
        self._told: dict[str, tuple[object, ...]] = {}  # by workflow, see `_state`
        self.started = time.time()
        plane.on_swap(self._moved)

    async def messages(self) -> AsyncGenerator[Message, None]:
        """What happens from now on. Ends at `end`, or where the reader fell too far behind."""
        if self._ended:
            return
        queue: asyncio.Queue[Message | None] = asyncio.Queue(_BOUND)
        self._watchers.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="pulse")
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._watchers.discard(queue)
            if not self._watchers and self._task is not None:
                self._task.cancel()
                self._task = None

    def end(self) -> None:
        """Let the watchers end: a stop does not wait for those who would watch for ever."""
        self._ended = True
        for queue in list(self._watchers):
            self._let_go(queue)

    def _tell(self, name: str, said: BaseModel) -> None:
        message = Message(name, said.model_dump_json())
        for queue in list(self._watchers):
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:
                self._let_go(queue)

    def _let_go(self, queue: asyncio.Queue[Message | None]) -> None:
        self._watchers.discard(queue)
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(None)

    def _moved(self, old: RoutingTable, new: RoutingTable, event: Event) -> None:
        if self._watchers:
            self._table = new
            self._tell("moved", Moved.of(old, new, event))

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tell_each_second())
                tasks.create_task(self._tell_of_the_fleet())
        except Exception:  # a fault here must not leave watchers that believe all is quiet
            log.exception("the live stream failed; its watchers begin anew")
            self._task = None
            for queue in list(self._watchers):
                self._let_go(queue)

    async def _tell_each_second(self) -> None:
        before = await asyncio.to_thread(rates.read, self._metrics, time.monotonic())
        self._table, self._told = self._plane.table, {}
        while True:
            await asyncio.sleep(TICK_S)
            now = await asyncio.to_thread(rates.read, self._metrics, time.monotonic())
            self._tell("rates", rates.between(before, now, time.time()))
            before = now
            self._tell_of_the_table()
            await self._tell_of_guards()

    async def _tell_of_the_fleet(self) -> None:
        """Beside the rest: the others may be in a store that does not answer for a while."""
        while True:
            self._tell("health", self._health(await self._plane.fleet.known()))
            await asyncio.sleep(TICK_S)

    def _health(self, seen: Sequence[Seen]) -> Health:
        plane = self._plane
        return Health(
            ready=plane.not_ready or "ok",
            log=ShownLog.of(plane),
            routes_file=ShownFile.of(plane),
            unavailable_adapters={str(t): why for t, why in plane.unavailable.items()},
            stats=self._engine.stats(),
            replicas=[ShownReplica.of(one) for one in seen],
        )

    def _tell_of_the_table(self) -> None:
        """A table that changed without an event: an adapter came or went."""
        table, waiting = self._plane.table, frozenset(self._plane.pending)
        if table is not self._table or waiting != self._waiting:
            self._table, self._waiting = table, waiting
            self._tell("table", Table(revision=table.revision))

    async def _tell_of_guards(self) -> None:
        watched: dict[str, list[Watched]] = {}
        for one in self._guards.watched.values():
            watched.setdefault(one.decision.workflow, []).append(one)
        gone = sorted(self._told.keys() - watched.keys())
        for workflow in gone:
            del self._told[workflow]
        news = [w for w, of in watched.items() if self._told.get(w) != _state(of)][:_GUARDS]
        if not news and not gone:
            return
        for workflow in news:
            self._told[workflow] = _state(watched[workflow])
        # The intervals are searched for: some 0.1 ms each, which the loop need not wait for.
        guards = await asyncio.to_thread(
            lambda: [ShownGuard.of(one) for workflow in news for one in watched[workflow]]
        )
        self._tell("guard", Guarded(guards=guards, gone=gone))


def _state(of: Sequence[Watched]) -> tuple[object, ...]:
    """Differs from what it was whenever a workflow's guards have something new to show."""
    return tuple(
        (one, one.panel.taken, len(one.trips), one.share and one.share.evidence) for one in of
    )
