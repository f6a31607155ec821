"""One version of one arm of a route under watch, and the trips that came of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.guard.arm_pairs import ArmPairs
from gateway.guard.detectors import Seen
from gateway.guard.panel import Evidence, Panel
from gateway.guard.pool import Share
from gateway.guard.values import CheckRule, OnTrip, Reference
from gateway.routing.fold import RoutingState, canary_of
from gateway.routing.table import Decision, Reason, RoutingTable

ABORT = "abort"


class Arm(StrEnum):
    """Of what a workflow's answers are."""

    CONTROL = "control"  # the route's target
    CANARY = "canary"


# What each arm's answers are decided as; a fallback's answers say nothing of a route.
_ARMS = {
    Reason.ROUTE: Arm.CONTROL,
    Reason.PINNED: Arm.CONTROL,
    Reason.CANARY: Arm.CANARY,
}
Key = tuple[str, Arm]  # what is watched: a workflow's arm


def arm_of(decision: Decision) -> Arm | None:
    """Which arm answered; None where a fallback did."""
    return _ARMS.get(decision.reason)


def live_arm(table: RoutingTable, workflow: str, arm: Arm) -> Decision | None:
    """What the arm's requests are decided to now; None where it answers none."""
    decision = table.resolve(workflow)
    if decision is None:
        return None
    if arm is Arm.CANARY:
        return decision.canary_arm
    return decision if arm_of(decision) is Arm.CONTROL else None


@dataclass(frozen=True, slots=True)
class Trip:
    """A check that tripped. `action` is what came of it: disable, rollback, abort (of a canary),
    alert, or held (the limit of trips per hour was reached)."""

    workflow: str
    arm: Arm
    target: str
    check: str
    action: str
    why: str
    at: float  # seconds since the epoch


@dataclass(slots=True, eq=False)
class StepCount:
    """What each signal of a canary has seen in its present step, by the signal's place."""

    revision: int  # at which the step began
    answers: list[int]  # scores of the canary's answers
    pairs: list[int]  # of a check that compares with the control arm, its pairs


@dataclass(slots=True, eq=False)
class Watched:
    """One version of an arm under watch. The watch alone writes it."""

    decision: Decision
    panel: Panel
    key: str  # of this version, see `version_key`
    share: Share | None = None  # in what all replicas know; None: it has the log for itself
    trips: list[Trip] = field(default_factory=list)
    pairs: ArmPairs | None = None  # of a canary: beside its control arm
    step: StepCount | None = None  # likewise

    @property
    def place(self) -> Key:
        return self.workflow, self.arm

    def action(self, check: CheckRule) -> str:
        """What a trip of `check` leads to: of a canary, that it alone is taken back."""
        action = self.panel.rule.action(check)
        return ABORT if self.arm is Arm.CANARY and action is not OnTrip.ALERT else action

    def score(self, seen: Seen, arm: Arm) -> list[float | None]:
        """The scores of an answer of `arm`. Reads nothing that `take` writes: for any thread."""
        scores = self.panel.score(seen)
        if arm is self.arm:
            return scores
        paired = [signal.check.compares_arms for signal in self.panel.signals]
        return [s if compares else None for s, compares in zip(scores, paired, strict=True)]

    def take(self, scores: list[float | None], arm: Arm) -> list[Evidence]:
        """Count the scores of an answer of `arm`; the signals that trip by it. Answers of the
        control arm tell a canary what it is compared with."""
        counted = scores
        if self.pairs is not None:
            counted = self.pairs.take(scores, control=arm is not self.arm)
        if self.step is not None:
            for at, signal in enumerate(self.panel.signals):
                self.step.answers[at] += arm is Arm.CANARY and scores[at] is not None
                self.step.pairs[at] += signal.check.compares_arms and counted[at] is not None
        if self.share is not None:
            self.share.count(counted)
        return self.panel.take(counted)

    @property
    def workflow(self) -> str:
        return self.decision.workflow

    @property
    def arm(self) -> Arm:
        return Arm.CANARY if self.decision.reason is Reason.CANARY else Arm.CONTROL

    def evidence(self) -> list[Evidence]:
        """Of this gateway's own answers, then of all gateways' as last heard."""
        pooled = () if self.share is None else self.share.evidence
        return [*self.panel.evidence(), *pooled]

    def has_told(self, check: str, action: str) -> bool:
        """Whether there was such a trip before."""
        return any((trip.check, trip.action) == (check, action) for trip in self.trips)


def version_key(decision: Decision, state: RoutingState) -> str:
    """Names a version of an arm: what answers, and how it is watched. A canary that begins anew is
    another version, and so is one beside another target: they are compared."""
    route = decision.route
    # What it is compared with is part of it, and nothing else of its shadow.
    paired = route.guard is not None and any(
        check.compared is Reference.SHADOW for check in route.guard.checks
    )
    beside = route.shadow.target if paired and route.shadow is not None else None
    stated: tuple[object, ...] = (
        decision.workflow,
        decision.target,
        route.guard,
        route.response_schema,
        beside,
    )
    if decision.reason is Reason.CANARY:
        progress = canary_of(state, decision.workflow)
        stated += (route.target, None if progress is None else progress.begun)
    return hashlib.sha256(repr(stated).encode()).hexdigest()
