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
from gateway.guard.arm_pairs import ArmPairs
from gateway.guard.detectors import Seen
from gateway.guard.keeping import EvidenceFile, restore
from gateway.guard.panel import Panel
from gateway.guard.pool import ALONE
from gateway.guard.pooling import POST_S, EvidenceStore, Pooling
from gateway.guard.promotion import Promotion
from gateway.guard.values import GuardRule, Reference
from gateway.guard.watched import (
    Arm,
    Key,
    StepCount,
    Watched,
    arm_of,
    live_arm,
    version_key,
)
from gateway.metrics import Metrics
from gateway.routing.events import CanaryRestarted, Event, RouteEnabled, RouteResumed
from gateway.routing.fold import canary_of
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
        self.watched: dict[Key, Watched] = {}
        self.promotion = Promotion(plane, self.watched, clock)

    async def start(self) -> None:
        """Read what was kept, and begin. After the plane's start."""
        self._saved = await asyncio.to_thread(self._file.read)
        for event in reversed(await self._plane.history(limit=1000)):
            self._note(event)
        self._plane.on_swap(self.on_swap)
        self._tasks.append(asyncio.create_task(self._run(), name="guard"))
        self._tasks.append(asyncio.create_task(self.promotion.run(), name="canaries"))
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
        if arm_of(decision) is None:
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
            if decision.route.guard is not None
            and not any((name, arm) in self.watched for arm in Arm)
        )

    def on_swap(self, old: RoutingTable, new: RoutingTable, event: Event) -> None:
        """Keep up with the table. What a person enabled or resumed begins with new evidence."""
        self._note(event)
        change = event.change
        if isinstance(change, RouteEnabled | RouteResumed):
            for arm in Arm:
                self._begin_anew((change.workflow, arm))
        elif isinstance(change, CanaryRestarted):
            self._begin_anew((change.workflow, Arm.CANARY))
        for place in [place for place in self.watched if not _is_named(new, *place)]:
            gauges.forget(self._metrics, self.watched.pop(place))
            self.acting.drop(place)

    def _begin_anew(self, place: Key) -> None:
        self.watched.pop(place, None)
        self.acting.drop(place)
        self._saved_at = 0.0  # what was kept is out of date

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
        return self.watched.get(watched.place) is watched

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
        jobs = [
            (watched, seen, arm)
            for decision, seen in batch
            if (arm := arm_of(decision)) is not None
            for watched in self._concerned(decision, arm)
        ]
        if jobs:
            scores = await asyncio.to_thread(
                lambda: [watched.score(seen, arm) for watched, seen, arm in jobs]
            )
            for (watched, _, arm), scored in zip(jobs, scores, strict=True):
                if not self._is_current(watched):
                    continue
                if arm is watched.arm:
                    gauges.count(self._metrics, watched, scored)
                for evidence in watched.take(scored, arm):
                    await self.acting.tripped(watched, evidence)
            for watched in {id(watched): watched for watched, _, _ in jobs}.values():
                gauges.show(self._metrics, watched)
        await self.acting.again()
        if (now := time.monotonic()) - self._saved_at > _SAVE_S:
            self._saved_at = now
            await asyncio.to_thread(self._file.write, self._evidence())

    def _concerned(self, decision: Decision, arm: Arm) -> list[Watched]:
        """What an answer says something of: its own arm, and a canary that is compared with it."""
        found = [self._watched(decision, arm)]
        if arm is Arm.CONTROL:
            canary = self.watched.get((decision.workflow, Arm.CANARY))
            compares = canary is not None and canary.pairs is not None
            if canary is not None and compares and canary.decision.route is decision.route:
                found.append(canary)
        return [watched for watched in found if watched is not None]

    def _watched(self, decision: Decision, arm: Arm) -> Watched | None:
        """The watch on the version of the arm that `decision` was of, where it is the live
        one: what an earlier version answered late says nothing of this one."""
        rule, state = decision.route.guard, self._plane.state
        live = live_arm(self._plane.table, decision.workflow, arm)
        if rule is None or live is None:
            return None
        place = (decision.workflow, arm)
        known = self.watched.get(place)
        if known is None or known.decision.route is not decision.route:
            key = version_key(decision, state)
            if key != version_key(live, state):
                return None
            if known is None or known.key != key:
                if known is not None:
                    gauges.forget(self._metrics, known)
                known = self.watched[place] = self._new(live, rule, key)
            known.decision = live
        if arm is Arm.CANARY:
            self._keep_step(known)
        return known

    def _new(self, live: Decision, rule: GuardRule, key: str) -> Watched:
        is_canary = arm_of(live) is Arm.CANARY
        # A shadow is beside the control arm, which a canary alone is compared with.
        rule = rule.without(Reference.SHADOW if is_canary else Reference.CONTROL)
        schema, pooling = live.route.response_schema, self.pooling
        part = 1.0 if pooling is None else ALONE
        watched = Watched(live, Panel(rule, schema, part=part), key)
        if pooling is not None:
            watched.share = pooling.share(rule, schema, key, self._since.get(live.workflow, 0))
        paired = [signal.check.compares_arms for signal in watched.panel.signals]
        if is_canary and any(paired):
            watched.pairs = ArmPairs(paired)
        kept = self._saved.pop(key, None)
        if kept is not None:
            restore(watched.panel, kept)
        gauges.expect(self._metrics, watched)
        return watched

    def _keep_step(self, watched: Watched) -> None:
        """Count a canary's answers anew from each step on."""
        progress = canary_of(self._plane.state, watched.workflow)
        if progress is None:
            return
        revision = progress.since.revision
        if watched.step is None or watched.step.revision != revision:
            nothing = [0] * len(watched.panel.signals)
            watched.step = StepCount(revision, [*nothing], [*nothing])

    def _evidence(self) -> dict[str, Any]:
        live = {watched.key: watched.panel.saved() for watched in self.watched.values()}
        return {**self._saved, **live}


def _is_named(table: RoutingTable, workflow: str, arm: Arm) -> bool:
    """Whether the table still has the arm, though it may answer nothing now."""
    decision = table.decisions.get(workflow)
    if decision is None:
        return False
    return arm is Arm.CONTROL or decision.route.canary is not None
