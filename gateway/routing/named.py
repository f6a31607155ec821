"""Which adapters a history names: all that any revision, live or gone, sent or could send a request
to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.routing.events import (
    AdapterApproved,
    AdapterRegistered,
    AdapterRevoked,
    CanaryAborted,
    CanaryPromoted,
    CanaryRestarted,
    CanaryStepped,
    Event,
    RoutePinned,
    TableApplied,
    TableEdited,
)
from gateway.routing.table import AdapterRef, Route, Target


@dataclass(frozen=True, slots=True)
class Named:
    """Adapters by reference and by digest: either is enough to keep one. `routed` are those of
    routes, pins, canaries and approvals; `spoken_of` those that were registered or revoked alone,
    which no rollback leads to."""

    routed: frozenset[AdapterRef | str] = field(default_factory=frozenset)
    spoken_of: frozenset[AdapterRef | str] = field(default_factory=frozenset)

    def __or__(self, other: Named) -> Named:
        return Named(self.routed | other.routed, self.spoken_of | other.spoken_of)


def named_by(events: Iterable[Event]) -> Named:
    """What the events name."""
    routed: set[AdapterRef | str] = set()
    spoken_of: set[AdapterRef | str] = set()
    for event in events:
        match event.change:
            case TableApplied(routes=routes) | TableEdited(routes=routes):
                for route in routes:
                    _note(routed, targets_of(route))
            case RoutePinned(route=route):
                _note(routed, targets_of(route))
            case (
                CanaryStepped(target=target)
                | CanaryPromoted(target=target)
                | CanaryAborted(target=target)
                | CanaryRestarted(target=target)
            ):
                _note(routed, (target,))
            case AdapterApproved(ref=ref, digest=digest):
                routed |= {ref, digest}
            case AdapterRegistered(ref=ref, digest=digest) | AdapterRevoked(ref=ref, digest=digest):
                spoken_of |= {ref, digest}
    return Named(frozenset(routed), frozenset(spoken_of))


def targets_of(route: Route) -> tuple[Target, ...]:
    """Everything that a route may ask: target, fallback, canary and shadow."""
    shadow = () if route.shadow is None else (route.shadow.target,)
    return (*route.targets, *shadow)


def _note(names: set[AdapterRef | str], targets: Iterable[Target]) -> None:
    for target in targets:
        if target.ref is not None:
            names.add(target.ref)
        if target.digest is not None:
            names.add(target.digest)
