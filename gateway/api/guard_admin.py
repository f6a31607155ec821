"""What the guard knows, over the admin API: what is watched, the evidence, how far from a trip."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from gateway.api.answers import Shown
from gateway.api.probes_shown import ShownProbes
from gateway.api.shadow_shown import ShownShadow
from gateway.guard.bounds import confidence_sequence
from gateway.guard.panel import Evidence
from gateway.guard.shadows import Shadows
from gateway.guard.values import OnTrip, Reference
from gateway.guard.watch import Watch
from gateway.guard.watched import Arm, Trip, Watched
from gateway.probes.runner import ProbeRunner

_SURE = 0.05  # the interval that is shown holds at all times with a chance of 95%


class ShownSignal(Shown):
    """One thing that a guard counts."""

    name: str = Field(description="the check; for collapse with the label")
    action: str = Field(description="what a trip of it leads to: disable, rollback, abort, alert")
    compared: Reference = Field(
        description="what it is held against: stated or report (a rate), shadow, control or base "
        "(pairs)"
    )
    seen: int = Field(description="answers that it scored, or pairs of them")
    bad: float = Field(
        description="the sum of their scores; 1 is bad. Of pairs: 1/2 where both are alike"
    )
    rate: float = Field(description="the bad rate. Of pairs: how much it is over the other's")
    interval: tuple[float, float] = Field(
        description="where the true rate lies, at all times together with a chance of 95%"
    )
    bound: float = Field(description="the rate that is still healthy; of pairs the difference")
    e_value: float = Field(description="evidence against healthy; 1 is none")
    line: float = Field(description="the evidence that trips it")
    progress: float = Field(description="the way to a trip in the logarithm: 0 to 1")
    window: float | None = Field(description="the plain rule's mean; null for a test")
    tripped: bool
    line_of_text: str = Field(description="the same as one line")

    @classmethod
    def of(cls, evidence: Evidence, action: str) -> ShownSignal:
        signal = evidence.signal
        return cls(
            name=signal.name,
            action=action,
            compared=signal.check.compared,
            seen=evidence.seen,
            bad=evidence.bad,
            rate=evidence.rate,
            interval=_interval(evidence),
            bound=evidence.allowed,
            e_value=evidence.e_value,
            line=evidence.line,
            progress=evidence.progress,
            window=evidence.window,
            tripped=evidence.tripped,
            line_of_text=str(evidence),
        )


class ShownGuard(Shown):
    """One arm of a route. Counts are of the arm's version in force."""

    workflow: str
    arm: Arm
    target: str
    alpha: float
    on_trip: OnTrip
    signals: list[ShownSignal] = Field(description="of this gateway's own answers")
    pooled: list[ShownSignal] = Field(
        description="of the answers of all gateways that share the log, as last heard; empty where "
        "the log is in a folder"
    )
    trips: list[Trip]

    @classmethod
    def of(cls, watched: Watched) -> ShownGuard:
        rule = watched.panel.rule
        pooled = () if watched.share is None else watched.share.evidence
        return cls(
            workflow=watched.workflow,
            arm=watched.arm,
            target=str(watched.decision.target),
            alpha=rule.alpha,
            on_trip=rule.on_trip,
            signals=[
                ShownSignal.of(evidence, watched.action(evidence.signal.check))
                for evidence in watched.panel.evidence()
            ],
            pooled=[
                ShownSignal.of(evidence, watched.action(evidence.signal.check))
                for evidence in pooled
            ],
            trips=watched.trips,
        )


class Guards(Shown):
    """Every route whose guard has seen an answer."""

    guards: list[ShownGuard]
    unseen: list[str] = Field(description="routes with a guard that has seen nothing yet")
    shadows: list[ShownShadow] = Field(description="routes with a shadow that was asked already")
    probes: list[ShownProbes] = Field(description="routes under probes")
    acts_in_last_hour: int
    trips_per_hour: int = Field(description="past so many the guards hold their trips")
    pool_error: str | None = Field(
        description="why evidence is not pooled with the other gateways' now, if it is not"
    )


def _interval(evidence: Evidence) -> tuple[float, float]:
    low, high = confidence_sequence(evidence.bad, evidence.seen, _SURE)
    paired = evidence.signal.check.is_paired  # scores of pairs are from 0 to 1, differences from -1
    return (2 * low - 1, 2 * high - 1) if paired else (low, high)


def guard_routes(watch: Watch, shadows: Shadows, probes: ProbeRunner) -> APIRouter:
    """The routes under /admin/v1/guard."""
    router = APIRouter()

    @router.get("/admin/v1/guard")
    async def guard() -> Guards:
        """What is watched, the evidence so far, and how far each check is from a trip."""
        return Guards(
            guards=[ShownGuard.of(watched) for _, watched in sorted(watch.watched.items())],
            unseen=watch.unseen,
            shadows=[ShownShadow.of(tally) for tally in shadows.tallies],
            probes=[ShownProbes.of(one) for _, one in sorted(probes.probed.items())],
            acts_in_last_hour=watch.acting.recent,
            trips_per_hour=watch.acting.trips_per_hour,
            pool_error=None if watch.pooling is None else watch.pooling.error,
        )

    return router
