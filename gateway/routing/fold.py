"""State as a pure fold of the log. `effective.py` makes the table of it that requests see.

No clock, no I/O: history, audit, rollback and catch-up are all this one function over events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gateway.access.values import KeyRecord, Mark
from gateway.registry.values import AdapterState, GateVerdict
from gateway.routing import canary
from gateway.routing.canary import CanaryProgress
from gateway.routing.events import (
    API_SOURCE,
    AdapterApproved,
    AdapterRegistered,
    AdapterRevoked,
    CanaryAborted,
    CanaryPromoted,
    CanaryRestarted,
    CanaryStepped,
    Draft,
    Event,
    KeyCreated,
    KeyRevoked,
    RouteDisabled,
    RouteEnabled,
    RoutePinned,
    RouteResumed,
    TableApplied,
    TableEdited,
)
from gateway.routing.table import AdapterRef, Disabled, Override, Pinned, Route


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
    canaries: canary.Canaries = field(default_factory=dict)  # by workflow; see `canary_of`
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
                canaries=canary.after_table(
                    state.canaries,
                    routes,
                    state.canaries.keys() - {r.workflow for r in routes},
                    _mark(event),
                ),
                table_digest=digest,
                file_digest=state.file_digest if source == API_SOURCE else digest,
            )
        case TableEdited(routes=routes, removed=removed, source=source, digest=digest):
            return replace(
                state,
                routes=_edited(state.routes, routes, removed),
                canaries=canary.after_table(state.canaries, routes, removed, _mark(event)),
                table_digest=digest,
                file_digest=state.file_digest if source == API_SOURCE else digest,
            )
        case RouteDisabled(workflow=workflow):
            hand = Disabled(event.revision, event.actor, event.reason, event.at)
            return _override(state, workflow, replace(hand_on(state, workflow), disabled=hand))
        case RouteEnabled(workflow=workflow):
            state = replace(
                state, canaries=canary.after_pause(state.canaries, workflow, _mark(event))
            )
            return _override(state, workflow, replace(hand_on(state, workflow), disabled=None))
        case RoutePinned(workflow=workflow, to_revision=to_revision, route=route):
            pin = Pinned(event.revision, event.actor, event.reason, event.at, to_revision, route)
            return _override(state, workflow, replace(hand_on(state, workflow), pinned=pin))
        case RouteResumed(workflow=workflow):
            state = replace(
                state, canaries=canary.after_pause(state.canaries, workflow, _mark(event))
            )
            return _override(state, workflow, replace(hand_on(state, workflow), pinned=None))
        case CanaryStepped() as step:
            after = canary.after_step(state.canaries, step, _mark(event))
            return replace(state, canaries=after)
        case CanaryPromoted() as promotion:
            after = canary.after_promotion(state.canaries, promotion, _mark(event))
            return replace(state, canaries=after)
        case CanaryAborted() as abort:
            after = canary.after_abort(state.canaries, abort, _mark(event))
            return replace(state, canaries=after)
        case CanaryRestarted() as restart:
            after = canary.after_restart(state.canaries, restart, _mark(event))
            return replace(state, canaries=after)
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
    """The state with a disable or an abort laid over it that the log has not got yet. The revision
    stays."""
    if isinstance(draft.change, CanaryAborted):
        by = Mark(state.revision, draft.actor, draft.reason, draft.at)
        return replace(state, canaries=canary.after_abort(state.canaries, draft.change, by))
    if not isinstance(draft.change, RouteDisabled):
        raise ValueError(f"{draft.change.kind} cannot be laid over the log")
    workflow = draft.change.workflow
    if hand_on(state, workflow).disabled is not None:
        return state
    hand = Disabled(state.revision, draft.actor, draft.reason, draft.at)
    return _override(state, workflow, replace(hand_on(state, workflow), disabled=hand))


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


def live_route(state: RoutingState, workflow: str) -> Route | None:
    """The route in force (the pin's, or the file's), whether disabled or not."""
    hand = hand_on(state, workflow)
    return hand.pinned.route if hand.pinned is not None else state.routes.get(workflow)


def canary_of(state: RoutingState, workflow: str) -> CanaryProgress | None:
    """The canary that the file names for a workflow, however far it is. An operator's hand on the
    workflow goes before it."""
    route, progress = state.routes.get(workflow), state.canaries.get(workflow)
    return None if route is None or route.canary is None else progress


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


def _edited(
    before: Mapping[str, Route], routes: Iterable[Route], removed: Iterable[str]
) -> Mapping[str, Route]:
    """`before` with `routes` in and `removed` out, still in the order of the names."""
    after = {**before, **{route.workflow: route for route in routes}}
    added = len(after) > len(before)
    for workflow in removed:
        after.pop(workflow, None)
    return dict(sorted(after.items())) if added else after


def hand_on(state: RoutingState, workflow: str) -> Override:
    """The operator's hand on a workflow; an empty one where there is none."""
    return state.overrides.get(workflow, Override())


def _override(state: RoutingState, workflow: str, override: Override) -> RoutingState:
    overrides = {**state.overrides, workflow: override}
    if override == Override():
        del overrides[workflow]
    return replace(state, overrides=overrides)
