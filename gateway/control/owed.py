"""What a replica owes to the log: orders it obeys and the log has not got. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.registry.values import AdapterState
from gateway.routing.canary import Phase
from gateway.routing.events import (
    AdapterRevoked,
    CanaryAborted,
    Change,
    Draft,
    Event,
    KeyRevoked,
    RouteDisabled,
    RoutePinned,
)
from gateway.routing.fold import RoutingState

_HANDS = (RouteDisabled, RoutePinned, CanaryAborted, AdapterRevoked, KeyRevoked)


def in_force(change: Change, state: RoutingState) -> bool:
    """Whether `state` holds already what `change` takes away from somebody."""
    match change:
        case RouteDisabled(workflow=workflow):
            hand = state.overrides.get(workflow)
            return hand is not None and hand.disabled is not None
        case RoutePinned(workflow=workflow):
            hand = state.overrides.get(workflow)
            return hand is not None and hand.pinned is not None
        case CanaryAborted(workflow=workflow, target=target):
            known = state.canaries.get(workflow)
            meant = known is not None and known.canary.target == target
            return known is not None and meant and known.phase is Phase.ABORTED
        case AdapterRevoked(digest=digest):
            return state.verdicts.get(digest) is AdapterState.REVOKED
        case KeyRevoked(key_id=key_id):
            key = state.keys.get(key_id)
            return key is None or key.revoked is not None
    return False


def lost_hands(events: Iterable[Event], mine: RoutingState, theirs: RoutingState) -> list[Draft]:
    """Of `events`, which another history lost: the disables, rollbacks, aborts and revocations that
    were in force in `mine` and are not in `theirs`, to be appended again."""
    found: dict[tuple[type, str], Draft] = {}
    for event in events:
        change = event.change
        if not isinstance(change, _HANDS):
            continue
        if in_force(change, mine) and not in_force(change, theirs):
            match change:
                case RouteDisabled(workflow=name) | RoutePinned(workflow=name):
                    pass
                case CanaryAborted(workflow=name):
                    pass
                case AdapterRevoked(digest=name):
                    pass
                case KeyRevoked(key_id=name):
                    pass
            reason = f"{event.reason} (again: the log lost revision {event.revision})"
            draft = Draft(change, event.actor, reason, event.at, event.origin)
            found[type(change), name] = draft
    return list(found.values())
