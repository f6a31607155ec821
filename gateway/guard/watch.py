"""The watch: takes what the request path saw, and scores it for the guard of its route.

`observe` never waits: it puts a value into a bounded queue and drops what does not fit. One task
takes it out, scores it in a thread, counts it, and hands what trips to `acting`. The evidence of a
route's version is kept on local disk over restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.control.plane import ControlPlane
from gateway.guard import gauges
from gateway.guard.acting import Acting
from gateway.guard.detectors import Seen
from gateway.guard.keeping import EvidenceFile, restore
from gateway.guard.panel import Panel
from gateway.guard.pool import ALONE
from gateway.guard.pooling import POST_S, EvidenceStore, Pooling
from gateway.guard.watched import LIVE, Watched, version_key
from gateway.metrics import Metrics
from gateway.routing.events import Event, RouteEnabled, RouteResumed
from gateway.routing.table import Decision, RoutingTable

log = logging.getLogger("gateway.guard")

_QUEUE = 4096
_BATCH = 64
_RETRY_S = 1.0
_SAVE_S = 30.0


class Watch:
    """All routes' guards of this process. Belongs to one event loop."""

    def __init__(
        self,
        plane: ControlPlane,
        state: Path,
        metrics: Metrics,
        *,
        trips_per_hour: int = 3,
        pool: EvidenceStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`state`: the folder that keeps the evidence. `trips_per_hour`: how often guards may
        act over all gateways that share the log; past it they hold their trips. `pool`: where
        those gateways put their evidence together; None where the log is this one's alone."""
        self._plane = plane
        self._file = EvidenceFile(state)
        self._metrics = metrics
        self.acting = Acting(plane, metrics, trips_per_hour=trips_per_hour, clock=clock)
        self.pooling = None if pool is None else Pooling(pool)
        self._since: dict[str, int] = {}  # by workflow, when a person began its evidence anew
        self._queue: asyncio.Queue[tuple[Decision, Seen]] = asyncio.Queue(_QUEUE)
        self._saved: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._saved_at = 0.0
        self.watched: dict[str, Watched] = {}

    async def start(self) -> None:
        """Read what was kept, and begin. After the plane's start."""
        self._saved = await asyncio.to_thread(self._file.read)
        for event in reversed(await self._plane.history(limit=1000)):
            self._note(event)
        self._plane.on_swap(self.on_swap)
        self._tasks.append(asyncio.create_task(self._run(), name="guard"))
        if self.pooling is not None:
            self._tasks.append(asyncio.create_task(self._pool(self.pooling), name="guard pool"))

    async def close(self) -> None:
        """Stop, and keep the evidence."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await asyncio.to_thread(self._file.write, self._evidence())
        if self.pooling is not None:
            await self.pooling.exchange(self.watched.values())  # the last second's

    def observe(self, decision: Decision, seen: Seen) -> None:
        """Note one answer of a route with a guard, a score of one, or a pair. Never waits."""
        if decision.reason not in LIVE:
            return  # of a fallback it would say nothing about the route's target
        try:
            self._queue.put_nowait((decision, seen))
        except asyncio.QueueFull:
            self._metrics.guard_dropped.inc()

    @property
    def unseen(self) -> list[str]:
        """The routes with a guard that has seen no answer of them yet."""
        decisions = self._plane.table.decisions
        return sorted(
            name
            for name, decision in decisions.items()
            if decision.route.guard is not None and name not in self.watched
        )

    def on_swap(self, old: RoutingTable, new: RoutingTable, event: Event) -> None:
        """Keep up with the table. What a person enabled or resumed begins with new evidence."""
        self._note(event)
        change = event.change
        if isinstance(change, RouteEnabled | RouteResumed):
            self.watched.pop(change.workflow, None)
            self.acting.drop(change.workflow)
            self._saved_at = 0.0  # what was kept is out of date
        for workflow in [name for name in self.watched if name not in new.decisions]:
            gauges.forget(self._metrics, self.watched.pop(workflow))
            self.acting.drop(workflow)

    def _note(self, event: Event) -> None:
        self.acting.note(event)
        if isinstance(event.change, RouteEnabled | RouteResumed):
            self._since[event.change.workflow] = event.revision

    async def _pool(self, pooling: Pooling) -> None:
        while True:
            await asyncio.sleep(POST_S)
            try:
                for watched, evidence in await pooling.exchange(self.watched.values()):
                    if self._is_current(watched):
                        await self.acting.tripped(watched, evidence)
            except Exception:  # evidence waits; the watch goes on
                log.exception("the guard failed at the pool")

    def _is_current(self, watched: Watched) -> bool:
        """Not so where a person enabled its route meanwhile, or it left the table."""
        return self.watched.get(watched.decision.workflow) is watched

    async def _run(self) -> None:
        while True:
            try:
                await self._once()
            except Exception:  # the watch must outlive whatever one answer holds
                log.exception("the guard failed on an answer")

    async def _once(self) -> None:
        batch: list[tuple[Decision, Seen]] = []
        # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes with an answer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RETRY_S):
                batch.append(await self._queue.get())
        while len(batch) < _BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        found = [(self._watched(decision), seen) for decision, seen in batch]
        jobs = [(watched, seen) for watched, seen in found if watched is not None]
        if jobs:
            scores = await asyncio.to_thread(
                lambda: [watched.panel.score(seen) for watched, seen in jobs]
            )
            for (watched, _), scored in zip(jobs, scores, strict=True):
                if not self._is_current(watched):
                    continue
                if watched.share is not None:
                    watched.share.count(scored)
                gauges.count(self._metrics, watched, scored)
                for evidence in watched.panel.take(scored):
                    await self.acting.tripped(watched, evidence)
            for watched in {id(watched): watched for watched, _ in jobs}.values():
                gauges.show(self._metrics, watched)
        await self.acting.again()
        if (now := time.monotonic()) - self._saved_at > _SAVE_S:
            self._saved_at = now
            await asyncio.to_thread(self._file.write, self._evidence())

    def _watched(self, decision: Decision) -> Watched | None:
        """The watch on the version of the route that `decision` was of, where it is the live
        one: what an earlier version answered late says nothing of this one."""
        rule = decision.route.guard
        live = self._plane.table.resolve(decision.workflow)
        if rule is None or live is None or live.reason not in LIVE:
            return None
        known = self.watched.get(decision.workflow)
        if known is not None and known.decision.route is decision.route:
            return known
        key = version_key(decision)
        if key != version_key(live):
            return None
        if known is None or known.key != key:
            if known is not None:
                gauges.forget(self._metrics, known)
            schema, pooling = live.route.response_schema, self.pooling
            known = Watched(live, Panel(rule, schema, part=1.0 if pooling is None else ALONE), key)
            if pooling is not None:
                known.share = pooling.share(live, key, self._since.get(decision.workflow, 0))
            kept = self._saved.pop(key, None)
            if kept is not None:
                restore(known.panel, kept)
            gauges.expect(self._metrics, known)
            self.watched[decision.workflow] = known
        known.decision = live
        return known

    def _evidence(self) -> dict[str, Any]:
        live = {watched.key: watched.panel.saved() for watched in self.watched.values()}
        return {**self._saved, **live}
