"""What one workflow went to over the whole log, and what of it a rollback may go back to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.registry.values import AdapterState
from gateway.routing.effective import Published, decision_of
from gateway.routing.events import Event
from gateway.routing.fold import RoutingState, adapter_state, fold, live_route
from gateway.routing.table import Decision, Route


@dataclass(frozen=True, slots=True)
class Step:
    """A revision that changed a workflow. `before` and `after` are None where it was not there.
    `no_way_back`: why a rollback cannot lead to this revision's route; None where it can."""

    event: Event
    before: Decision | None
    after: Decision | None
    no_way_back: str | None


def past(
    events: Sequence[Event], workflow: str, published: Published, held: Collection[str]
) -> list[Step]:
    """The steps of `workflow`, oldest first. `events` is the whole log, `held` the digests of the
    adapters that are in the registry."""
    found: list[tuple[Event, Decision | None, Decision | None, Route | None]] = []
    state, before, route = RoutingState(), None, None
    for event in events:
        state = fold(state, event)
        after, now = decision_of(state, workflow, published), live_route(state, workflow)
        if _differ(before, after) or now != route:
            found.append((event, before, after, now))
        before, route = after, now
    return [
        Step(event, was, became, _no_way_back(state, then, route, published, held))
        for event, was, became, then in found
    ]


def _differ(one: Decision | None, other: Decision | None) -> bool:
    if one is None or other is None:
        return one is not other
    said = ((each.target, each.reason, each.split, each.route) for each in (one, other))
    return next(said) != next(said)


def _no_way_back(
    state: RoutingState,
    then: Route | None,
    now: Route | None,
    published: Published,
    held: Collection[str],
) -> str | None:
    """What `commands.rollback` and the control plane would refuse a rollback to `then` for."""
    if then is None:
        return "the workflow did not exist"
    if then.without_canary == now:  # a rollback never pins a canary
        return "this is the route in force"
    digest = then.target.digest
    if digest is None:
        return None
    if adapter_state(state, digest, published(digest)) is AdapterState.REVOKED:
        return f"{then.target} is revoked"
    return None if digest in held else f"{then.target} is no longer in the registry"
