"""What comes of a trip: an alert, or an ordinary command to the control plane as `guard`.

A disable lasts until a person enables; the guard never enables anything. A canary that trips is
aborted, and nothing else of its route changes: no limit holds that. Where the log is away the
command is tried again; where the limit of trips per hour is reached the trip is held, and acted on
once the limit allows, if its evidence still says so and nobody has acted since.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable

from gateway.control.plane import ControlPlane
from gateway.control.values import Command
from gateway.errors import GatewayError, NotAllowed, NotFound
from gateway.guard.panel import Evidence
from gateway.guard.values import OnTrip
from gateway.guard.watched import ABORT, Arm, Key, Trip, Watched, live_arm, version_key
from gateway.metrics import Metrics
from gateway.routing.commands import revision_of_other_target
from gateway.routing.events import Event, RouteDisabled, RoutePinned

log = logging.getLogger("gateway.guard")

ACTOR = "guard"
HELD = "held"
_HOUR_S = 3600.0


class Acting:
    """The guard's hand. Belongs to the watch's event loop."""

    def __init__(
        self,
        plane: ControlPlane,
        metrics: Metrics,
        *,
        trips_per_hour: int,
        clock: Callable[[], float],
    ) -> None:
        """`trips_per_hour`: how often guards may act over all gateways that share the log."""
        self._plane = plane
        self._metrics = metrics
        self.trips_per_hour = trips_per_hour
        self._clock = clock
        self._acts: deque[float] = deque()  # when guards acted, newest last
        self._pending: dict[Key, tuple[Watched, Evidence]] = {}  # the log is away
        self._held: dict[tuple[Key, str], Watched] = {}  # by arm and signal; the limit

    @property
    def recent(self) -> int:
        """How often guards acted in the last hour."""
        while self._acts and self._acts[0] <= self._clock() - _HOUR_S:
            self._acts.popleft()
        return len(self._acts)

    def note(self, event: Event) -> None:
        """Count what guards did, here or elsewhere."""
        if event.actor == ACTOR and isinstance(event.change, RouteDisabled | RoutePinned):
            self._acts.append(event.at)

    def drop(self, place: Key) -> None:
        """Nothing is to be done about an arm any more."""
        self._pending.pop(place, None)
        for key in [key for key in self._held if key[0] == place]:
            del self._held[key]

    async def tripped(self, watched: Watched, evidence: Evidence) -> None:
        """Do what the route's guard says of this trip."""
        decision = watched.decision
        action = watched.panel.rule.action(evidence.signal.check)
        if decision.target == decision.route.fallback:
            action = OnTrip.ALERT  # there is nothing else to send it to
        name = evidence.signal.name
        if action is OnTrip.ALERT:
            if not watched.has_told(name, OnTrip.ALERT):  # its own evidence, or all gateways'
                self._tell(watched, evidence, OnTrip.ALERT)
        elif watched.arm is Arm.CONTROL and self.recent >= self.trips_per_hour:
            self._held[watched.place, name] = watched
            if not watched.has_told(name, HELD):
                self._tell(watched, evidence, HELD)
        else:
            await self._act(watched, evidence)

    async def again(self) -> None:
        """Try what could not be done before: the log was away, or the limit was reached."""
        for watched, evidence in list(self._pending.values()):
            await self._act(watched, evidence)
        for (place, name), watched in list(self._held.items()):
            if self.recent >= self.trips_per_hour:
                return
            if (place, name) not in self._held:
                continue  # another signal of the same route has just acted
            if not self._in_force(watched):
                self.drop(place)  # somebody else acted, or it is another version
                continue
            for evidence in _of(name, watched.evidence()):
                if evidence.enough and (place, name) in self._held:
                    await self._act(watched, evidence)

    def _in_force(self, watched: Watched) -> bool:
        live = live_arm(self._plane.table, watched.workflow, watched.arm)
        return live is not None and version_key(live, self._plane.state) == watched.key

    async def _act(self, watched: Watched, evidence: Evidence) -> None:
        """Take the route back. Where the log is away it is tried again until it is done."""
        workflow = watched.workflow
        self.drop(watched.place)
        if not self._in_force(watched):
            return  # somebody was faster
        command = Command(ACTOR, str(evidence))
        action = watched.panel.rule.action(evidence.signal.check)
        try:
            if watched.arm is Arm.CANARY:
                await self._plane.abort(workflow, command, local=True)
                self._tell(watched, evidence, ABORT)
                return
            if action is OnTrip.ROLLBACK and await self._rolled_back(watched, command):
                self._tell(watched, evidence, OnTrip.ROLLBACK)
                return
            done = await self._plane.disable(workflow, command, local=True)
            if done.event is None:  # obeyed here alone, until the log is back
                self._acts.append(self._clock())
            self._tell(watched, evidence, OnTrip.DISABLE)
        except (NotAllowed, NotFound) as error:
            log.warning("the guard did not have to act on %s: %s", workflow, error)
        except GatewayError as error:
            log.error("the guard cannot act on %s yet: %s", workflow, error)
            self._pending[watched.place] = (watched, evidence)

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
            watched.arm,
            str(decision.target),
            evidence.signal.name,
            action,
            str(evidence),
            self._clock(),
        )
        watched.trips.append(trip)
        fields = {
            "workflow": trip.workflow,
            "arm": trip.arm,
            "target": trip.target,
            "action": action,
        }
        log.warning("guard trip: %s", trip.why, extra={"fields": fields})
        kind = evidence.signal.check.kind
        self._metrics.guard_trips.labels(trip.workflow, trip.arm, kind, action).inc()


def _of(name: str, found: Iterable[Evidence]) -> list[Evidence]:
    return [evidence for evidence in found if evidence.signal.name == name]
