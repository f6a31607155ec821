"""The probe runner: on a schedule, each probed route's target and the base get the same items.

One task asks one question at a time, as background work of the engine, and stands back while live
requests queue. Each pair is one score for the route's guard, which decides as on all else. Texts
are judged and dropped.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.control.plane import ControlPlane
from gateway.engine.base import Engine
from gateway.errors import BadInput, GatewayError, QueueFull
from gateway.guard.detectors import Scored
from gateway.guard.sequential import difference_score
from gateway.guard.values import CheckKind, CheckRule
from gateway.guard.watch import Watch
from gateway.guard.watched import Arm, Key, arm_of, live_arm
from gateway.metrics import Metrics
from gateway.probes.asking import Asker
from gateway.probes.reading import ProbeSets
from gateway.probes.sampling import draw
from gateway.probes.values import Probe
from gateway.routing.table import Decision, RoutingTable

log = logging.getLogger("gateway.probes")

_LOOK_S = 0.5  # between two looks at what is due
_STAND_BACK_S = 0.25  # between two looks at the live queue


class RoundEnd(StrEnum):
    """How a round ended."""

    WHOLE = "whole"
    CUT = "cut"  # live load left no room for all of it before the next was due
    CHANGED = "changed"  # the route is not what it was when the round began
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Tally:
    """What came of one suite's items; `base` and `target` are sums of scores, 1 is bad."""

    pairs: int = 0
    base: float = 0.0
    target: float = 0.0


@dataclass(slots=True, eq=False)
class Probed:
    """One version of an arm under probes. The runner alone writes it."""

    decision: Decision
    arm: Arm
    rule: CheckRule
    due: float  # on the runner's clock
    rounds: int = 0
    last: RoundEnd | None = None
    digest: str = ""  # of the set that was asked last
    fault: str = ""  # what kept the last round from its items
    suites: dict[str, Tally] = field(default_factory=dict)


class ProbeRunner:
    """All probed routes of this process. Belongs to one event loop."""

    def __init__(
        self,
        plane: ControlPlane,
        engine: Engine,
        watch: Watch,
        metrics: Metrics,
        sets: ProbeSets,
        *,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seed` None takes one from the system: a process that starts again must not draw again
        what the evidence has counted already."""
        self._plane = plane
        self._engine = engine
        self._watch = watch
        self._metrics = metrics
        self._sets = sets
        self._asker = Asker(engine)
        self._generator = random.Random(seed)
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._seen: RoutingTable | None = None
        self.probed: dict[Key, Probed] = {}

    def start(self) -> None:
        """Begin. After the watch's start."""
        self._task = asyncio.create_task(self._run(), name="probes")

    async def close(self) -> None:
        """Stop; what is being asked is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._keep_up()
                due = [one for one in self.probed.values() if one.due <= self._clock()]
                if due:
                    await self._round(min(due, key=lambda one: one.due))
            except Exception:  # the runner must outlive whatever one probe holds
                log.exception("a round of probes failed")
            await asyncio.sleep(_LOOK_S)

    async def _keep_up(self) -> None:
        """Take in a table that changed: versions that are new are due at once."""
        table = self._plane.table
        if table is self._seen:
            return
        found = await asyncio.to_thread(_probed_by, table)
        for place in self.probed.keys() - found.keys():
            del self.probed[place]
        for place, (decision, rule) in found.items():
            known = self.probed.get(place)
            if known is None or not _same(known.decision, decision):
                self.probed[place] = Probed(decision, place[1], rule, self._clock())
        self._seen = table

    async def _round(self, probed: Probed) -> None:
        workflow, rule = probed.decision.workflow, probed.rule
        ends = self._clock() + rule.every_s
        probed.due = ends
        probed.fault = ""
        try:
            probes = await asyncio.to_thread(self._sets.get, rule.set)
            if probes.digest != probed.digest:  # scores of other items say nothing of these
                probed.digest = probes.digest
                probed.suites.clear()
            end = RoundEnd.WHOLE
            for suite, probe in draw(probes, rule.items, self._generator):
                end = await self._pair(probed, suite, probe, ends)
                if end is not RoundEnd.WHOLE:
                    break
        except QueueFull:
            end = RoundEnd.CUT
        except GatewayError as error:
            end, probed.fault = RoundEnd.FAILED, error.message
            log.error("probes of %s: %s", workflow, error)
        probed.rounds += 1
        probed.last = end
        self._metrics.probe_rounds.labels(workflow, end).inc()

    async def _pair(self, probed: Probed, suite: str, probe: Probe, ends: float) -> RoundEnd:
        """Ask both, and hand the pair to the guard. WHOLE where the round may go on."""
        digest = probed.decision.target.digest
        try:
            async with asyncio.timeout(max(0.0, ends - self._clock())):
                await self._quiet()
                base = await self._asker.score(probe, None)
                target = await self._asker.score(
                    probe, None if digest is None else self._plane.artifacts[digest]
                )
        except TimeoutError:
            return RoundEnd.CUT
        except BadInput as error:  # too long for this engine, which says nothing of the target
            probed.fault = f"{probe.id}: {error.message}"
            return RoundEnd.WHOLE
        live = live_arm(self._plane.table, probed.decision.workflow, probed.arm)
        if live is None or not _same(live, probed.decision):
            return RoundEnd.CHANGED
        if base is None or target is None:
            probed.fault = f"{probe.id}: its check ran out of time on an answer"
            return RoundEnd.WHOLE
        tally = probed.suites.setdefault(suite, Tally())
        tally.pairs += 1
        tally.base += base
        tally.target += target
        workflow = live.workflow
        self._metrics.probe_pairs.labels(workflow, suite).inc()
        self._metrics.probe_bad.labels(workflow, suite, "base").inc(base)
        self._metrics.probe_bad.labels(workflow, suite, "target").inc(target)
        self._watch.observe(live, Scored(CheckKind.PROBES, float(difference_score(target, base))))
        return RoundEnd.WHOLE

    async def _quiet(self) -> None:
        """Wait until no live request queues. The engine pauses what it was given; this gives it
        nothing."""
        while self._engine.stats().queue_depth > 0:  # noqa: ASYNC110 (the engine has no event)
            await asyncio.sleep(_STAND_BACK_S)


def _probed_by(table: RoutingTable) -> dict[Key, tuple[Decision, CheckRule]]:
    """What answers now, is an adapter, and is under probes: a route's target, and its canary."""
    found = {}
    for workflow, decided in table.decisions.decided.items():
        guard = decided.route.guard
        checks = () if guard is None else guard.checks
        check = next((check for check in checks if check.kind is CheckKind.PROBES), None)
        if check is None:
            continue
        for decision in (decided, decided.canary_arm):
            arm = None if decision is None else arm_of(decision)
            if decision is not None and arm is not None and not decision.target.is_base:
                found[workflow, arm] = (decision, check)
    return found


def _same(one: Decision, other: Decision) -> bool:
    """Whether both are of one version of an arm, which answers."""
    return (one.target, one.reason, one.route.guard) == (
        other.target,
        other.reason,
        other.route.guard,
    )
