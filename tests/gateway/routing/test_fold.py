"""The fold and the commands on it: what an operator was promised, under any interleaving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.errors import NotAllowed, NotFound
from gateway.registry.values import AdapterState
from gateway.routing import canary_commands, commands
from gateway.routing.assignment import CanaryPlan
from gateway.routing.canary import Phase
from gateway.routing.codec import decode_change, encode_change
from gateway.routing.effective import View, changed_workflows, effective, view
from gateway.routing.events import (
    AdapterApproved,
    AdapterRevoked,
    CanaryRestarted,
    Change,
    Event,
    RouteDisabled,
    RouteEnabled,
    TableApplied,
)
from gateway.routing.fold import RoutingState, fold, fold_all
from gateway.routing.table import BASE, AdapterRef, Canary, Decision, Reason, Route, Target

WORKFLOWS = ("triage", "facts", "notes", "prose", "rows")
TARGETS = (Target(), *(Target(AdapterRef("a", str(i)), f"digest{i}") for i in (1, 2, 3)))


PLANS = (CanaryPlan((5.0, 50.0, 100.0), 60.0), CanaryPlan((10.0,)))


def table(**targets: Target) -> TableApplied:
    return with_canaries({name: (target, None) for name, target in targets.items()})


def with_canaries(routes: Mapping[str, tuple[Target, Canary | None]]) -> TableApplied:
    made = tuple(Route(name, to, canary=canary) for name, (to, canary) in sorted(routes.items()))
    return TableApplied(made, "routes.yaml", repr(routes))


def history(*changes: Change) -> list[Event]:
    return [Event(n, change, "ann", "why", 0.0) for n, change in enumerate(changes, 1)]


def decision(events: list[Event], workflow: str = "triage") -> Decision:
    found = effective(fold_all(events)).resolve(workflow)
    assert found is not None
    return found


def test_disable_goes_to_base_and_enable_brings_the_adapter_back() -> None:
    events = history(table(triage=TARGETS[1]), RouteDisabled("triage"))
    assert (decision(events).target, decision(events).reason) == (Target(), Reason.DISABLED)
    events = history(table(triage=TARGETS[1]), RouteDisabled("triage"), RouteEnabled("triage"))
    assert (decision(events).target, decision(events).reason) == (TARGETS[1], Reason.ROUTE)


def test_a_disable_outlives_a_file_that_drops_and_brings_back_the_workflow() -> None:
    events = history(
        table(triage=TARGETS[1]),
        RouteDisabled("triage"),
        table(facts=TARGETS[1]),
        table(triage=TARGETS[2]),
    )
    assert decision(events).reason is Reason.DISABLED


def test_rollback_pins_the_last_other_route_and_outlives_file_edits() -> None:
    events = history(table(triage=TARGETS[1]), table(triage=TARGETS[2]))
    pin = commands.rollback(events, "triage", None, "finish", lambda _: None)
    assert (pin.to_revision, pin.route.target) == (1, TARGETS[1])
    after = [*events, *history(table(), table(), pin, table(triage=TARGETS[3]))[2:]]
    assert (decision(after).target, decision(after).reason) == (TARGETS[1], Reason.PINNED)


def test_rollback_to_a_revoked_adapter_is_refused() -> None:
    events = history(
        table(triage=TARGETS[1]), table(triage=TARGETS[2]), AdapterRevoked(_ref(1), "digest1")
    )
    with pytest.raises(NotAllowed, match="revoked"):
        commands.rollback(events, "triage", None, "finish", lambda _: None)


def test_a_revoked_adapter_falls_back_until_it_is_approved_again() -> None:
    events = history(table(triage=TARGETS[1]), AdapterRevoked(_ref(1), "digest1"))
    assert (decision(events).target, decision(events).reason) == (Target(), Reason.FALLBACK)
    events += [Event(3, AdapterApproved(_ref(1), "digest1"), "ann", "", 0.0)]
    assert decision(events).reason is Reason.ROUTE


def test_unknown_workflows_are_answered_with_the_nearest() -> None:
    state = fold_all(history(table(triage=TARGETS[1])))
    with pytest.raises(NotFound, match="did you mean triage"):
        commands.disable(state, "triag", "finish")


def test_revisions_must_follow_one_another() -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        fold(RoutingState(), Event(2, table(), "ann", "", 0.0))


def test_a_schema_keeps_the_order_of_its_properties_through_the_log() -> None:
    schema = {"type": "object", "properties": {"z": {}, "a": {}}}
    change = TableApplied((Route("w", Target(), response_schema=schema),), "f", "d")
    back = decode_change(encode_change(change))
    assert isinstance(back, TableApplied)
    found = back.routes[0].response_schema
    assert found is not None
    assert list(found["properties"]) == ["z", "a"]


targets = st.sampled_from(TARGETS)
canaries = st.none() | st.builds(Canary, st.sampled_from(TARGETS[1:]), st.sampled_from(PLANS))


class Operators(RuleBasedStateMachine):
    """Commands and edits in any order, against what was promised."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.state = RoutingState()
        self.view: View | None = None
        self.lost: set[Target] = set()
        self.disabled: set[str] = set()
        self.aborted: set[tuple[str, Target]] = set()

    def commit(self, change: Change) -> None:
        assert decode_change(encode_change(change)) == change
        event = Event(self.state.revision + 1, change, "ann", "", 0.0)
        self.events.append(event)
        self.state = fold(self.state, event)

    @rule(routes=st.dictionaries(st.sampled_from(WORKFLOWS), st.tuples(targets, canaries)))
    def edit(self, routes: dict[str, tuple[Target, Canary | None]]) -> None:
        whole = with_canaries(routes)
        by_whole = fold(self.state, Event(self.state.revision + 1, whole, "ann", "", 0.0))
        self.commit(commands.apply(self.state, whole))
        assert self.state == by_whole
        assert list(self.state.routes) == sorted(routes)
        assert {n: (r.target, r.canary) for n, r in self.state.routes.items()} == routes
        for name, (_, canary) in routes.items():
            if canary is not None:  # another adapter: what was aborted is over
                self.aborted = {a for a in self.aborted if a[0] != name or a[1] == canary.target}

    @rule(workflow=st.sampled_from(WORKFLOWS), whole=st.booleans())
    def promote(self, workflow: str, whole: bool) -> None:
        before = self.split(workflow)
        try:
            change = canary_commands.promote(self.state, workflow, whole=whole)
        except (NotAllowed, NotFound):
            return
        self.commit(change)
        found = effective(self.state).decisions[workflow]
        after = 10_000 if found.reason is Reason.CANARY else self.split(workflow)
        assert before <= after  # nobody goes back from the canary

    @rule(workflow=st.sampled_from(WORKFLOWS))
    def abort(self, workflow: str) -> None:
        try:
            change = canary_commands.abort(self.state, workflow, "finish")
        except (NotAllowed, NotFound):
            return
        self.commit(change)
        self.aborted.add((workflow, change.target))

    def split(self, workflow: str) -> int:
        found = effective(self.state).resolve(workflow)
        return 0 if found is None or found.split is None else found.split.buckets

    @rule(workflow=st.sampled_from(WORKFLOWS))
    def disable(self, workflow: str) -> None:
        try:
            self.commit(commands.disable(self.state, workflow, "finish"))
        except (NotAllowed, NotFound):
            return
        self.disabled.add(workflow)

    @rule(workflow=st.sampled_from(WORKFLOWS))
    def enable(self, workflow: str) -> None:
        try:
            self.commit(commands.enable(self.state, workflow))
        except (NotAllowed, NotFound):
            assert workflow not in self.disabled
            return
        self.disabled.remove(workflow)

    @rule(workflow=st.sampled_from(WORKFLOWS), back=st.none() | st.integers(1, 12))
    def rollback(self, workflow: str, back: int | None) -> None:
        try:
            change = commands.rollback(self.events, workflow, back, "finish", lambda _: None)
        except (NotAllowed, NotFound):
            return
        self.commit(change)

    @rule(workflow=st.sampled_from(WORKFLOWS))
    def resume(self, workflow: str) -> None:
        try:
            change = commands.resume(self.state, workflow)
        except (NotAllowed, NotFound):
            return
        self.commit(change)
        if isinstance(change, CanaryRestarted):
            self.aborted.remove((workflow, change.target))

    @rule(number=st.integers(1, 3), revoke=st.booleans())
    def judge(self, number: int, revoke: bool) -> None:
        kind = AdapterRevoked if revoke else AdapterApproved
        self.commit(kind(_ref(number), f"digest{number}"))

    @rule(adapter=st.sampled_from(TARGETS[1:]))
    def lose_or_find(self, adapter: Target) -> None:
        self.lost ^= {adapter}

    @invariant()
    def a_view_made_from_the_one_before_is_the_view_made_anew(self) -> None:
        def lost(target: Target) -> str | None:
            return "gone" if target in self.lost else None

        before = self.view
        whole = view(self.state, lost=lost)
        self.view = view(self.state, lost=lost, before=before)
        assert self.view == whole
        assert list(self.view.table.decisions) == list(whole.table.decisions)
        if before is not None:
            one, other = before.table.decisions, whole.table.decisions
            differing = {
                name
                for name in {*one, *other}
                if name not in one
                or name not in other
                or replace(one[name], revision=0) != replace(other[name], revision=0)
            }
            assert differing <= changed_workflows(before.table, self.view.table)

    @invariant()
    def promises_hold(self) -> None:
        assert fold_all(self.events) == self.state
        live = effective(self.state)
        assert live.revision == len(self.events)
        for name, found in live.decisions.items():
            digest = found.target.digest
            if digest is not None:
                assert self.state.verdicts.get(digest) is not AdapterState.REVOKED
            if name in self.disabled:
                assert found.reason is Reason.DISABLED
                assert found.target.is_base
            arm = found.canary_arm
            if arm is None:
                continue
            assert name not in self.disabled
            assert self.state.overrides.get(name) is None
            assert (name, arm.target) not in self.aborted
            assert self.state.verdicts.get(arm.target.digest or "") is not AdapterState.REVOKED
            assert self.state.canaries[name].phase is not Phase.ABORTED
        assert live.decisions[BASE].reason is Reason.DEFAULT


def _ref(number: int) -> AdapterRef:
    return AdapterRef("a", str(number))


TestOperators = Operators.TestCase
