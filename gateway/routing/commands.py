"""What an operator may ask for, decided on the state alone: a change, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import NotAllowed, NotFound
from gateway.nearest import nearest
from gateway.registry.values import AdapterState
from gateway.routing.canary import Phase
from gateway.routing.effective import Published
from gateway.routing.events import (
    CanaryRestarted,
    Event,
    InFlight,
    RouteDisabled,
    RouteEnabled,
    RoutePinned,
    RouteResumed,
    TableApplied,
    TableEdited,
)
from gateway.routing.fold import RoutingState, adapter_state, canary_of, fold, live_route
from gateway.routing.table import BASE, Route, Target


def require_workflow(state: RoutingState, workflow: str) -> None:
    """Raises NotFound, naming the nearest workflow there is."""
    if workflow in state.routes or workflow in state.overrides:
        return
    if workflow == BASE:
        raise NotAllowed("base is always there and has no route to change")
    near = nearest(workflow, state.routes)
    hint = f"; did you mean {near}?" if near else ""
    raise NotFound(f"there is no workflow {workflow!r}{hint}", param="workflow", nearest=near)


def apply(state: RoutingState, table: TableApplied) -> TableApplied | TableEdited:
    """Make `table` the one in force: said whole, or by what differs where that is less."""
    known = state.routes
    changed = tuple(
        route
        for route in table.routes
        if (old := known.get(route.workflow)) is None or not old.same(route)
    )
    removed: set[str] = set()
    if len(known) > len(table.routes) or any(route.workflow not in known for route in changed):
        removed = known.keys() - {route.workflow for route in table.routes}
    if 2 * (len(changed) + len(removed)) >= len(table.routes):
        return table
    return TableEdited(changed, tuple(sorted(removed)), table.source, table.digest)


def disable(state: RoutingState, workflow: str, in_flight: InFlight) -> RouteDisabled:
    """Switch a workflow to its fallback."""
    require_workflow(state, workflow)
    hand = state.overrides.get(workflow)
    if hand is not None and hand.disabled is not None:
        by = hand.disabled
        raise NotAllowed(f"{workflow} is disabled already, by {by.actor} at revision {by.revision}")
    return RouteDisabled(workflow, in_flight)


def enable(state: RoutingState, workflow: str) -> RouteEnabled:
    """Lift a disable."""
    require_workflow(state, workflow)
    hand = state.overrides.get(workflow)
    if hand is None or hand.disabled is None:
        raise NotAllowed(f"{workflow} is not disabled; there is nothing to enable")
    return RouteEnabled(workflow)


def resume(state: RoutingState, workflow: str) -> RouteResumed | CanaryRestarted:
    """Lift a rollback's pin, so that the file rules again; where there is none, begin an aborted
    canary again."""
    require_workflow(state, workflow)
    hand = state.overrides.get(workflow)
    if hand is not None and hand.pinned is not None:
        return RouteResumed(workflow)
    progress = canary_of(state, workflow)
    if progress is None or progress.phase is not Phase.ABORTED:
        raise NotAllowed(
            f"{workflow} is not pinned, and no canary of it was aborted; there is nothing to resume"
        )
    return CanaryRestarted(workflow, progress.canary.target)


def rollback(
    events: Sequence[Event],
    workflow: str,
    to_revision: int | None,
    in_flight: InFlight,
    published: Published,
) -> RoutePinned:
    """Pin a workflow to its route at `to_revision`, by default the newest different one before.
    A pinned route has no canary.

    `events` is the whole log. Raises NotFound for a revision or route that was not there, and
    NotAllowed where it would change nothing or lead to a revoked adapter.
    """
    past: list[tuple[int, Route | None]] = []
    state = RoutingState()
    for event in events:
        state = fold(state, event)
        past.append((event.revision, live_route(state, workflow)))
    require_workflow(state, workflow)
    now = live_route(state, workflow)
    if to_revision is None:
        earlier = [
            (n, r) for n, r in past if r is not None and r != now and r.without_canary != now
        ]
        if not earlier:
            raise NotAllowed(f"{workflow} never had another route; there is nothing to go back to")
        to_revision, route = earlier[-1]
    else:
        if not 1 <= to_revision <= state.revision:
            raise NotFound(f"there is no revision {to_revision}; the newest is {state.revision}")
        found = past[to_revision - 1][1]
        if found is None:
            raise NotFound(f"{workflow} did not exist at revision {to_revision}")
        route = found
    route = route.without_canary
    if route == now:
        raise NotAllowed(f"{workflow} is as it was at revision {to_revision} already")
    digest = route.target.digest
    if digest and adapter_state(state, digest, published(digest)) is AdapterState.REVOKED:
        raise NotAllowed(
            f"{route.target} is revoked; {workflow} cannot go back to it "
            "(choose another revision with --to, or disable the workflow)"
        )
    return RoutePinned(workflow, to_revision, route, in_flight)


def revision_of_other_target(events: Sequence[Event], workflow: str, target: Target) -> int | None:
    """The newest revision at which `workflow` went to something other than `target`."""
    found: int | None = None
    state = RoutingState()
    for event in events:
        state = fold(state, event)
        route = live_route(state, workflow)
        if route is not None and route.target != target:
            found = event.revision
    return found
