"""One version of a route under watch, and the trips that came of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from gateway.guard.panel import Evidence, Panel
from gateway.guard.pool import Share
from gateway.routing.table import Decision, Reason

# Where the route's own target answers; a fallback's answers say nothing of it.
LIVE = (Reason.ROUTE, Reason.PINNED)


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
    key: str  # of this version of the route, see `version_key`
    share: Share | None = None  # in what all replicas know; None: it has the log for itself
    trips: list[Trip] = field(default_factory=list)

    def evidence(self) -> list[Evidence]:
        """Of this gateway's own answers, then of all gateways' as last heard."""
        pooled = () if self.share is None else self.share.evidence
        return [*self.panel.evidence(), *pooled]

    def has_told(self, check: str, action: str) -> bool:
        """Whether there was such a trip before."""
        return any((trip.check, trip.action) == (check, action) for trip in self.trips)


def version_key(decision: Decision) -> str:
    """Names a version of a route: what answers, and how it is watched."""
    route = decision.route
    # What it is compared with is part of it, and nothing else of its shadow.
    paired = route.guard is not None and any(check.is_paired for check in route.guard.checks)
    beside = route.shadow.target if paired and route.shadow is not None else None
    stated = repr((decision.workflow, decision.target, route.guard, route.response_schema, beside))
    return hashlib.sha256(stated.encode()).hexdigest()
