"""State as a pure fold of the log, and the effective table as a pure view of the state.

No clock, no I/O: history, audit, rollback and catch-up are all this one function over events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from gateway.access.values import KeyRecord, Mark
from gateway.registry.values import AdapterState, GateVerdict
from gateway.routing.events import (
    API_SOURCE,
    AdapterApproved,
    AdapterRegistered,
    AdapterRevoked,
    Draft,
    Event,
    KeyCreated,
    KeyRevoked,
    RouteDisabled,
    RouteEnabled,
    RoutePinned,
    RouteResumed,
    TableApplied,
)
from gateway.routing.table import (
    BASE,
    BASE_TARGET,
    AdapterRef,
    Decision,
    Disabled,
    Override,
    Pinned,
    Reason,
    Route,
    RoutingTable,
    Target,
)

# What the registry published an adapter as, by digest; the log's verdict lies above it.
Published = Callable[[str], AdapterState | None]
# Why a target cannot be served here, None where it can. A fact of one process, not of the log.
Lost = Callable[[Target], str | None]


@dataclass(frozen=True, slots=True)
class GateOverride:
    """An approval in spite of the gate that is still in force: whose hand, why, and what the gate
    had said."""

    ref: AdapterRef
    gate: GateVerdict
    by: Mark


@dataclass(frozen=True, slots=True)
class RoutingState:
    """Everything the log says. Mappings are never changed in place."""

    revision: int = 0
    routes: Mapping[str, Route] = field(default_factory=dict)
    table_digest: str = ""  # of the text in force, wherever it came from
    file_digest: str = ""  # of the text last taken from routes.yaml
    overrides: Mapping[str, Override] = field(default_factory=dict)
    verdicts: Mapping[str, AdapterState] = field(default_factory=dict)  # by adapter digest
    gate_overrides: Mapping[str, GateOverride] = field(default_factory=dict)  # by adapter digest
    registered: Mapping[str, Mark] = field(default_factory=dict)  # by adapter digest
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)  # by key id, revoked ones too


def fold(state: RoutingState, event: Event) -> RoutingState:
    """The state after `event`. Raises ValueError where the event is not the next one."""
    if event.revision != state.revision + 1:
        raise ValueError(f"revision {event.revision} cannot follow {state.revision}")
    state = replace(state, revision=event.revision)
    match event.change:
        case TableApplied(routes=routes, source=source, digest=digest):
            # Overrides stay, also those of workflows that the new table leaves out: an
            # operator's hand is lifted by an operator alone.
            return replace(
                state,
                routes={r.workflow: r for r in routes},
                table_digest=digest,
                file_digest=state.file_digest if source == API_SOURCE else digest,
            )
        case RouteDisabled(workflow=workflow):
            hand = Disabled(event.revision, event.actor, event.reason, event.at)
            return _override(state, workflow, replace(_hand(state, workflow), disabled=hand))
        case RouteEnabled(workflow=workflow):
            return _override(state, workflow, replace(_hand(state, workflow), disabled=None))
        case RoutePinned(workflow=workflow, to_revision=to_revision, route=route):
            pin = Pinned(event.revision, event.actor, event.reason, event.at, to_revision, route)
            return _override(state, workflow, replace(_hand(state, workflow), pinned=pin))
        case RouteResumed(workflow=workflow):
            return _override(state, workflow, replace(_hand(state, workflow), pinned=None))
        case AdapterRegistered(digest=digest):
            # Who brought it in first did; the same content again adds nothing.
            return replace(state, registered={digest: _mark(event), **state.registered})
        case AdapterApproved(ref=ref, digest=digest, override=override, gate=gate):
            over = GateOverride(ref, gate or GateVerdict.NONE, _mark(event)) if override else None
            return _judged(state, digest, AdapterState.APPROVED, over)
        case AdapterRevoked(digest=digest):
            return _judged(state, digest, AdapterState.REVOKED, None)
        case KeyCreated(key=key):
            return replace(state, keys={**state.keys, key.id: KeyRecord(key, _mark(event))})
        case KeyRevoked(key_id=key_id):
            known = state.keys.get(key_id)
            if known is None:
                return state
            revoked = replace(known, revoked=_mark(event))
            return replace(state, keys={**state.keys, key_id: revoked})


def with_hand_of(state: RoutingState, draft: Draft) -> RoutingState:
    """The state with a disable laid over it that the log has not got yet. The revision stays."""
    if not isinstance(draft.change, RouteDisabled):
        raise ValueError(f"{draft.change.kind} cannot be laid over the log")
    workflow = draft.change.workflow
    if _hand(state, workflow).disabled is not None:
        return state
    hand = Disabled(state.revision, draft.actor, draft.reason, draft.at)
    return _override(state, workflow, replace(_hand(state, workflow), disabled=hand))


def fold_all(events: Iterable[Event], state: RoutingState | None = None) -> RoutingState:
    """Fold `events`, oldest first, onto `state` (the empty state by default)."""
    result = RoutingState() if state is None else state
    for event in events:
        result = fold(result, event)
    return result


def adapter_state(
    state: RoutingState, digest: str, published: AdapterState | None
) -> AdapterState | None:
    """The log's verdict on an adapter, else what the registry published it as."""
    return state.verdicts.get(digest, published)


def effective(
    state: RoutingState, published: Published = lambda _: None, lost: Lost = lambda _: None
) -> RoutingTable:
    """The table that requests are resolved against."""
    decisions = {
        workflow: decide(state, workflow, route, published, lost)
        for workflow, route in state.routes.items()
    }
    base = Route(workflow=BASE, target=BASE_TARGET)
    decisions[BASE] = Decision(BASE, BASE_TARGET, Reason.DEFAULT, state.revision, base)
    return RoutingTable(revision=state.revision, decisions=decisions)


def decide(
    state: RoutingState, workflow: str, file_route: Route, published: Published, lost: Lost
) -> Decision:
    """Where `workflow` goes: disabled before pinned before the file; revoked or lost goes to
    fallback."""
    hand = _hand(state, workflow)
    route = hand.pinned.route if hand.pinned is not None else file_route
    usual = Reason.PINNED if hand.pinned is not None else Reason.ROUTE

    def fault(target: Target) -> str | None:
        if target.digest is None:
            return None
        verdict = adapter_state(state, target.digest, published(target.digest))
        return f"{target} is revoked" if verdict is AdapterState.REVOKED else lost(target)

    fallback = BASE_TARGET if fault(route.fallback) else route.fallback
    if hand.disabled is not None:
        # A fallback to the very adapter that was switched off would be no switch-off.
        target = BASE_TARGET if fallback == route.target else fallback
        return Decision(workflow, target, Reason.DISABLED, state.revision, route)
    why = fault(route.target)
    if why is None:
        return Decision(workflow, route.target, usual, state.revision, route)
    return Decision(workflow, fallback, Reason.FALLBACK, state.revision, route, why)


def live_route(state: RoutingState, workflow: str) -> Route | None:
    """The route in force (the pin's, or the file's), whether disabled or not."""
    hand = _hand(state, workflow)
    return hand.pinned.route if hand.pinned is not None else state.routes.get(workflow)


def _judged(
    state: RoutingState, digest: str, verdict: AdapterState, hand: GateOverride | None
) -> RoutingState:
    """`digest` judged; an override of its gate lasts as long as the approval that needed it."""
    overrides = {d: o for d, o in state.gate_overrides.items() if d != digest}
    if hand is not None:
        overrides[digest] = hand
    return replace(state, verdicts={**state.verdicts, digest: verdict}, gate_overrides=overrides)


def _mark(event: Event) -> Mark:
    return Mark(event.revision, event.actor, event.reason, event.at)


def _hand(state: RoutingState, workflow: str) -> Override:
    return state.overrides.get(workflow, Override())


def _override(state: RoutingState, workflow: str, override: Override) -> RoutingState:
    overrides = {**state.overrides, workflow: override}
    if override == Override():
        del overrides[workflow]
    return replace(state, overrides=overrides)
