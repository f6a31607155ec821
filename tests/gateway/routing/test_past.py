"""What one workflow went to, and what a rollback may go back to: told by values alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.routing import commands
from gateway.routing.effective import decision_of, effective
from gateway.routing.events import Change, RouteDisabled, RouteEnabled, RoutePinned, RouteResumed
from gateway.routing.fold import fold_all
from gateway.routing.past import past
from gateway.routing.table import Decision, Route
from tests.gateway.routing.test_effective_and_commands import (
    approved,
    events,
    published,
    revoked,
    table,
    to,
)

HELD = {name * 4 for name in "abc"}
names = st.sampled_from(["a", "b", "c", "base"])
workflows = st.sampled_from(["w", "x"])
changes: st.SearchStrategy[list[Change]] = st.lists(
    st.one_of(
        st.builds(table, names, names, workflows),
        st.builds(RouteDisabled, workflows),
        st.builds(RouteEnabled, workflows),
        st.builds(lambda w, n: RoutePinned(w, 1, Route(w, to(n))), workflows, names),
        st.builds(RouteResumed, workflows),
        st.builds(revoked, st.sampled_from("abc")),
        st.builds(approved, st.sampled_from("abc")),
    ),
    min_size=1,
    max_size=12,
)


def goes_to(decision: Decision | None) -> str:
    return "" if decision is None else f"{decision.target} ({decision.reason})"


@given(changes)
def test_one_decision_is_that_of_the_whole_table(done: list[Change]) -> None:
    state = fold_all(events(*done))
    for workflow in ("w", "x"):
        whole = effective(state, published).decisions.get(workflow)
        assert decision_of(state, workflow, published) == whole


@given(changes)
def test_a_step_offers_what_a_rollback_accepts_and_nothing_else(done: list[Change]) -> None:
    log = events(*done)
    try:
        commands.require_workflow(fold_all(log), "w")
    except GatewayError:
        return
    for step in past(log, "w", published, HELD):
        try:
            commands.rollback(log, "w", step.event.revision, "finish", published)
        except GatewayError:
            assert step.no_way_back is not None, step
        else:
            assert step.no_way_back is None, step


def test_the_steps_tell_what_became_of_the_workflow_and_leave_the_rest_out() -> None:
    of_w = table("a"), RouteDisabled("w"), RouteEnabled("w"), table("b")
    log = events(*of_w[:2], RouteDisabled("x"), *of_w[2:], table("b"))
    steps = past(log, "w", published, HELD)
    told = [(s.event.revision, goes_to(s.before), goes_to(s.after)) for s in steps]
    assert told == [
        (1, "", "a@1 (route)"),
        (2, "a@1 (route)", "base (disabled)"),
        (4, "base (disabled)", "a@1 (route)"),
        (5, "a@1 (route)", "b@1 (route)"),
    ]
    assert [s.no_way_back for s in steps] == [None] * 3 + ["this is the route in force"]


def test_an_adapter_that_left_the_registry_is_no_way_back() -> None:
    steps = past(events(table("a"), table("b")), "w", published, {"bbbb"})
    assert steps[0].no_way_back == "a@1 is no longer in the registry"
