"""The effective table: a pure view of the folded state and of what this process can serve.

A view is made anew, or from the one before it at the price of what changed since; both are equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.registry.values import AdapterState
from gateway.routing.canary import Phase
from gateway.routing.fold import RoutingState, adapter_state, canary_of, hand_on
from gateway.routing.table import (
    BASE,
    BASE_TARGET,
    Decision,
    Decisions,
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
class View:
    """The effective table and what it was made of."""

    state: RoutingState
    table: RoutingTable
    uses: Mapping[Target, int]  # how often the routes in force name each adapter
    faults: Mapping[Target, str | None]  # of those adapters: why it cannot be served
    faulted: frozenset[str]  # the workflows whose decision has a `why`


def effective(
    state: RoutingState, published: Published = lambda _: None, lost: Lost = lambda _: None
) -> RoutingTable:
    """The table that requests are resolved against."""
    return view(state, published, lost).table


def view(
    state: RoutingState,
    published: Published = lambda _: None,
    lost: Lost = lambda _: None,
    before: View | None = None,
) -> View:
    """The view of `state`; from `before` in less time, where there is one."""
    was = _EMPTY if before is None else before
    changed = _differing(was.state.routes, state.routes)
    changed |= _differing(was.state.overrides, state.overrides) & state.routes.keys()
    changed |= _differing(was.state.canaries, state.canaries) & state.routes.keys()
    decided, faulted = dict(was.table.decisions.decided), set(was.faulted)
    uses = Counter(was.uses)
    for workflow in changed:
        if workflow in decided:
            _count(uses, decided[workflow].route, -1)
        if workflow in state.routes:
            _count(uses, _in_force(state, workflow), 1)
    faults = {target: _fault(state, target, published, lost) for target in uses}
    moved = {t.digest for t, why in faults.items() if was.faults.get(t) != why}
    if moved:
        changed |= {
            name
            for name, decision in decided.items()
            if any(target.digest in moved for target in decision.route.targets)
        }
    for workflow in changed:
        faulted.discard(workflow)
        if workflow not in state.routes:
            del decided[workflow]
            continue
        decision = decided[workflow] = decide(state, workflow, faults)
        if decision.why:
            faulted.add(workflow)
    if decided.keys() != was.table.decisions.decided.keys():  # in the order of the routes
        decided = {**{name: decided[name] for name in state.routes}, BASE: decided[BASE]}
    table = RoutingTable(state.revision, Decisions(decided, state.revision))
    return View(state, table, uses, faults, frozenset(faulted))


def decide(state: RoutingState, workflow: str, faults: Mapping[Target, str | None]) -> Decision:
    """Where `workflow` goes: disabled before pinned before a canary before the file; revoked or
    lost goes to fallback, and of a canary to the route's target."""
    hand = hand_on(state, workflow)
    route = _in_force(state, workflow)
    fallback = BASE_TARGET if faults.get(route.fallback) else route.fallback
    if hand.disabled is not None:
        # A fallback to the very adapter that was switched off would be no switch-off.
        target = BASE_TARGET if fallback == route.target else fallback
        return Decision(workflow, target, Reason.DISABLED, state.revision, route)
    progress = canary_of(state, workflow) if hand.pinned is None else None
    split, lost = None, None
    if progress is not None and progress.phase is not Phase.ABORTED:
        canary = progress.canary.target
        lost = faults.get(canary)
        if lost is None and progress.phase is Phase.PROMOTED:
            return Decision(workflow, canary, Reason.CANARY, state.revision, route)
        if lost is None:
            split = progress.split(workflow)
    why = faults.get(route.target)
    if why is None:
        usual = Reason.PINNED if hand.pinned is not None else Reason.ROUTE
        why = "" if lost is None else f"its canary answers nothing: {lost}"
        return Decision(workflow, route.target, usual, state.revision, route, why, split)
    return Decision(workflow, fallback, Reason.FALLBACK, state.revision, route, why, split)


def decision_of(
    state: RoutingState, workflow: str, published: Published = lambda _: None
) -> Decision | None:
    """The decision of one workflow, at the price of one; None where the file does not name it."""
    if workflow not in state.routes:
        return None
    route = _in_force(state, workflow)
    faults = {
        target: _fault(state, target, published, lambda _: None)
        for target in route.targets
        if target.digest is not None
    }
    return decide(state, workflow, faults)


def changed_workflows(before: RoutingTable, after: RoutingTable) -> set[str]:
    """The workflows whose decisions may differ in more than the revision. Of two tables that were
    made one from the other, few."""
    one, other = before.decisions, after.decisions
    return _differing(one.decided, other.decided) | one.held.keys() | other.held.keys()


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """The keys that only one has, or whose values are not the same object."""
    if before is after:
        return set()
    found = {name for name, value in after.items() if before.get(name) is not value}
    if len(after) != len(before) or any(name not in before for name in found):
        found |= before.keys() - after.keys()
    return found


def _in_force(state: RoutingState, workflow: str) -> Route:
    pinned = hand_on(state, workflow).pinned
    return state.routes[workflow] if pinned is None else pinned.route


def _count(uses: Counter[Target], route: Route, by: int) -> None:
    for target in route.targets:
        if target.digest is None:
            continue
        uses[target] += by
        if not uses[target]:
            del uses[target]


def _fault(state: RoutingState, target: Target, published: Published, lost: Lost) -> str | None:
    assert target.digest is not None
    verdict = adapter_state(state, target.digest, published(target.digest))
    return f"{target} is revoked" if verdict is AdapterState.REVOKED else lost(target)


def _base_alone() -> View:
    decision = Decision(BASE, BASE_TARGET, Reason.DEFAULT, 0, Route(BASE, BASE_TARGET))
    table = RoutingTable(0, Decisions({BASE: decision}, 0))
    return View(RoutingState(), table, {}, {}, frozenset())


_EMPTY = _base_alone()
