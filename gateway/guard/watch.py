"""The watch: takes what the request path saw, and acts when a route's evidence is enough.

`observe` never waits: it puts a value into a bounded queue and drops what does not fit. One task
takes it out, scores it in a thread, counts it, and on a trip gives the control plane an ordinary
command as `guard`. A disable lasts until a person enables; the guard never enables anything. The
evidence of a route's version is kept on local disk over restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.control.plane import ControlPlane
from gateway.control.values import Command
from gateway.errors import GatewayError, NotAllowed, NotFound
from gateway.guard.detectors import Answered
from gateway.guard.panel import Evidence, Panel
from gateway.guard.values import CheckKind, OnTrip
from gateway.metrics import Metrics
from gateway.routing.commands import revision_of_other_target
from gateway.routing.events import Event, RouteDisabled, RouteEnabled, RoutePinned, RouteResumed
from gateway.routing.table import Decision, Reason, RoutingTable

log = logging.getLogger("gateway.guard")

ACTOR = "guard"
FILE_NAME = "guard.json"
_QUEUE = 4096
_BATCH = 64
_RETRY_S = 1.0
_SAVE_S = 30.0
_HOUR_S = 3600.0
_LIVE = (Reason.ROUTE, Reason.PINNED)


@dataclass(frozen=True, slots=True)
class Trip:
    """A check that tripped. `action` is what came of it: disable, rollback, alert, or held (the
    limit of trips per hour was reached)."""

    workflow: str
    target: str
    check: str
    action: str
    why: str
    at: float  # seconds since the epoch


@dataclass(slots=True, eq=False)
class Watched:
    """One version of a route under watch. The watch alone writes it."""

    decision: Decision
    panel: Panel
    key: str  # of this version of the route: its target's content and its guard
    trips: list[Trip] = field(default_factory=list)


class Watch:
    """All routes' guards of this process. Belongs to one event loop."""

    def __init__(
        self,
        plane: ControlPlane,
        state: Path,
        metrics: Metrics,
        *,
        trips_per_hour: int = 3,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`state`: the folder that keeps the evidence. `trips_per_hour`: how often guards may
        act over all gateways that share the log; past it they alert only."""
        self._plane = plane
        self._path = state / FILE_NAME
        self.trips_per_hour = trips_per_hour
        self._clock = clock
        self._metrics = metrics
        self._queue: asyncio.Queue[tuple[Decision, Answered]] = asyncio.Queue(_QUEUE)
        self._saved: dict[str, Any] = {}
        self._acts: deque[float] = deque()  # when guards acted, newest last
        self._pending: dict[str, tuple[Watched, Evidence]] = {}  # by workflow
        self._task: asyncio.Task[None] | None = None
        self._saved_at = 0.0
        self.watched: dict[str, Watched] = {}

    async def start(self) -> None:
        """Read what was kept, and begin. After the plane's start."""
        self._saved = await asyncio.to_thread(self._read)
        for event in reversed(await self._plane.history(limit=1000)):
            self._note(event)
        self._plane.on_swap(self.on_swap)
        self._task = asyncio.create_task(self._run(), name="guard")

    async def close(self) -> None:
        """Stop, and keep the evidence."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await asyncio.to_thread(self._write, self._evidence())

    def observe(self, decision: Decision, seen: Answered) -> None:
        """Note one answer of a route with a guard. Never waits."""
        if decision.reason not in _LIVE:
            return  # of a fallback it would say nothing about the route's target
        try:
            self._queue.put_nowait((decision, seen))
        except asyncio.QueueFull:
            self._metrics.guard_dropped.inc()

    @property
    def recent_acts(self) -> int:
        """How often guards acted in the last hour."""
        while self._acts and self._acts[0] <= self._clock() - _HOUR_S:
            self._acts.popleft()
        return len(self._acts)

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
            self._pending.pop(change.workflow, None)
            self._saved_at = 0.0  # what was kept is out of date
        for workflow in [name for name in self.watched if name not in new.decisions]:
            self._forget(self.watched.pop(workflow))
            self._pending.pop(workflow, None)

    def _note(self, event: Event) -> None:
        if event.actor == ACTOR and isinstance(event.change, RouteDisabled | RoutePinned):
            self._acts.append(event.at)

    async def _run(self) -> None:
        while True:
            try:
                await self._once()
            except Exception:  # the watch must outlive whatever one answer holds
                log.exception("the guard failed on an answer")

    async def _once(self) -> None:
        batch: list[tuple[Decision, Answered]] = []
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
                self._count(watched, scored)
                for evidence in watched.panel.take(scored):
                    await self._tripped(watched, evidence)
            for watched in {id(watched): watched for watched, _ in jobs}.values():
                self._show(watched)
        for watched, evidence in list(self._pending.values()):
            await self._act(watched, evidence)
        if (now := time.monotonic()) - self._saved_at > _SAVE_S:
            self._saved_at = now
            await asyncio.to_thread(self._write, self._evidence())

    def _watched(self, decision: Decision) -> Watched | None:
        """The watch on the version of the route that `decision` was of, where it is the live
        one: what an earlier version answered late says nothing of this one."""
        rule = decision.route.guard
        live = self._plane.table.resolve(decision.workflow)
        if rule is None or live is None or live.reason not in _LIVE:
            return None
        known = self.watched.get(decision.workflow)
        if known is not None and known.decision.route is decision.route:
            return known
        key = _key(decision)
        if key != _key(live):
            return None
        if known is None or known.key != key:
            if known is not None:
                self._forget(known)
            known = Watched(live, Panel(rule, live.route.response_schema), key)
            kept = self._saved.pop(key, None)
            if kept is not None:
                _restore(known.panel, kept)
            self.watched[decision.workflow] = known
        known.decision = live
        return known

    async def _tripped(self, watched: Watched, evidence: Evidence) -> None:
        decision = watched.decision
        action = watched.panel.rule.action(evidence.signal.check)
        if decision.target == decision.route.fallback:
            action = OnTrip.ALERT  # there is nothing else to send it to
        if action is OnTrip.ALERT:
            self._tell(watched, evidence, "alert")
        elif self.recent_acts >= self.trips_per_hour:
            self._tell(watched, evidence, "held")
        else:
            await self._act(watched, evidence)

    async def _act(self, watched: Watched, evidence: Evidence) -> None:
        """Take the route back. Where the log is away it is tried again until it is done."""
        workflow = watched.decision.workflow
        self._pending.pop(workflow, None)
        live = self._plane.table.resolve(workflow)
        if live is None or live.reason not in _LIVE or _key(live) != watched.key:
            return  # somebody was faster
        command = Command(ACTOR, str(evidence))
        action = watched.panel.rule.action(evidence.signal.check)
        try:
            if action is OnTrip.ROLLBACK and await self._rolled_back(watched, command):
                self._tell(watched, evidence, "rollback")
                return
            done = await self._plane.disable(workflow, command, local=True)
            if done.event is None:  # obeyed here alone, until the log is back
                self._acts.append(self._clock())
            self._tell(watched, evidence, "disable")
        except (NotAllowed, NotFound) as error:
            log.warning("the guard's disable of %s was not needed: %s", workflow, error)
        except GatewayError as error:
            log.error("the guard cannot act on %s yet: %s", workflow, error)
            self._pending[workflow] = (watched, evidence)

    async def _rolled_back(self, watched: Watched, command: Command) -> bool:
        """Go back to the target before, where there is one that the guard has not left already."""
        decision = watched.decision
        hand = self._plane.state.overrides.get(decision.workflow)
        if hand is not None and hand.pinned is not None and hand.pinned.actor == ACTOR:
            return False
        events = (await self._plane.history(limit=1_000_000))[::-1]
        revision = revision_of_other_target(events, decision.workflow, decision.target)
        if revision is None:
            return False
        try:
            await self._plane.rollback(decision.workflow, command, to_revision=revision)
        except (NotAllowed, NotFound) as error:
            log.warning("no rollback of %s, it is disabled instead: %s", decision.workflow, error)
            return False
        return True

    def _tell(self, watched: Watched, evidence: Evidence, action: str) -> None:
        decision = watched.decision
        trip = Trip(
            decision.workflow,
            str(decision.target),
            evidence.signal.name,
            action,
            str(evidence),
            self._clock(),
        )
        watched.trips.append(trip)
        fields = {"workflow": trip.workflow, "target": trip.target, "action": action}
        log.warning("guard trip: %s", trip.why, extra={"fields": fields})
        kind = evidence.signal.check.kind
        self._metrics.guard_trips.labels(trip.workflow, kind, action).inc()

    def _count(self, watched: Watched, scores: list[float | None]) -> None:
        workflow, counted = watched.decision.workflow, set[CheckKind]()
        for signal, score in zip(watched.panel.signals, scores, strict=True):
            kind = signal.check.kind
            if score is None or kind in counted:
                continue
            counted.add(kind)
            self._metrics.guard_answers.labels(workflow, kind).inc()
            if kind is not CheckKind.COLLAPSE:
                self._metrics.guard_bad.labels(workflow, kind).inc(score)

    def _show(self, watched: Watched) -> None:
        """Set the gauges of one route: of several signals of a check, the farthest."""
        farthest: dict[CheckKind, float] = {}
        for evidence in watched.panel.evidence():
            kind = evidence.signal.check.kind
            farthest[kind] = max(farthest.get(kind, 0.0), evidence.progress)
        for kind, progress in farthest.items():
            self._metrics.guard_evidence.labels(watched.decision.workflow, kind).set(progress)

    def _forget(self, watched: Watched) -> None:
        for kind in {signal.check.kind for signal in watched.panel.signals}:
            with contextlib.suppress(KeyError):
                self._metrics.guard_evidence.remove(watched.decision.workflow, kind)

    def _evidence(self) -> dict[str, Any]:
        live = {watched.key: watched.panel.saved() for watched in self.watched.values()}
        return {**self._saved, **live}

    def _read(self) -> dict[str, Any]:
        try:
            found: Any = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read, evidence begins anew: %s", self._path, error)
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, evidence: dict[str, Any]) -> None:
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(evidence), encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            log.warning("evidence cannot be kept in %s: %s", self._path, error)


def _restore(panel: Panel, kept: Any) -> None:
    """Go on from what was kept, unless it is of another release, or has tripped: a route that is
    live all the same was enabled by a person since."""
    try:
        panel.restore(kept)
        if not any(evidence.tripped for evidence in panel.evidence()):
            return
    except ValueError as error:
        log.warning("evidence begins anew: %s", error)
    panel.reset()


def _key(decision: Decision) -> str:
    """Names a version of a route: what answers, and how it is watched."""
    route = decision.route
    stated = repr((decision.workflow, decision.target, route.guard, route.response_schema))
    return hashlib.sha256(stated.encode()).hexdigest()
