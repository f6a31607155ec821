"""A route's canary is read whole, and every fault of it has its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from gateway.errors import Problem, TableRejected
from gateway.registry.values import AdapterState
from gateway.routesfile.parse import Entry, parse
from gateway.routesfile.validate import validate
from gateway.routing.assignment import CanaryPlan
from gateway.routing.codec import decode_change, encode_change
from gateway.routing.events import TableApplied
from gateway.routing.table import AdapterRef, Canary, Route, Target
from tests.gateway.control.ports import MemoryRegistry, adapter

HEAD = "version: 1\nworkflows:\n  w:\n    target: a@1\n"
GUARD = "    guard: {checks: {empty: }}\n"


def entry_of(canary: str, guard: str = GUARD) -> Entry:
    (entry,) = parse(HEAD + guard + f"    canary: {canary}\n", "r").entries
    return entry


def plan_of(canary: str, guard: str = GUARD) -> CanaryPlan:
    entry = entry_of(canary, guard)
    assert entry.canary is not None
    assert entry.canary.adapter == AdapterRef("b", "2")
    return entry.canary.plan


def problems(canary: str, guard: str = GUARD) -> Mapping[str, str]:
    with pytest.raises(TableRejected) as rejected:
        entry_of(canary, guard)
    assert all(problem.line for problem in rejected.value.problems)
    return {p.field.removeprefix("workflows.w."): p.message for p in rejected.value.problems}


@pytest.mark.parametrize(
    ("canary", "plan"),
    [
        ("{adapter: b@2, share: 5%}", CanaryPlan((5.0,))),
        ("{adapter: b@2, share: 0.5}", CanaryPlan((0.5,))),
        ("{adapter: b@2, share: 5%, steps: [5, 25, 100]}", CanaryPlan((5.0, 25.0, 100.0))),
        ("{adapter: b@2, share: 10, steps: [5, 25, 100]}", CanaryPlan((10.0, 25.0, 100.0))),
        ("{adapter: b@2, steps: [5%, 25%]}", CanaryPlan((5.0, 25.0))),
        (
            "{adapter: b@2, steps: [1, 100], hold: 15m, key: X-Customer, min_answers: 40}",
            CanaryPlan((1.0, 100.0), 900.0, "x-customer", 40),
        ),
        ("{adapter: b@2, steps: [1], hold: 1.5h}", CanaryPlan((1.0,), 5400.0)),
    ],
)
def test_a_plan_is_read(canary: str, plan: CanaryPlan) -> None:
    assert plan_of(canary) == plan


@pytest.mark.parametrize(
    ("canary", "field", "message"),
    [
        ("{share: 5}", "canary.adapter", "is missing"),
        ("{adapter: base, share: 5}", "canary.adapter", "write name@version"),
        ("{adapter: [b], share: 5}", "canary.adapter", "must be a text"),
        ("{adapter: b@2}", "canary", "needs share (one for good) or steps"),
        ("{adapter: b@2, share: 0}", "canary.share", "from 0.01 to 100"),
        ("{adapter: b@2, share: 101%}", "canary.share", "from 0.01 to 100"),
        ("{adapter: b@2, share: .nan}", "canary.share", "from 0.01 to 100"),
        ("{adapter: b@2, share: five}", "canary.share", "as 5 or 5%"),
        ("{adapter: b@2, share: yes}", "canary.share", "must be a number"),
        ("{adapter: b@2, steps: 5}", "canary.steps", "must be a list"),
        ("{adapter: b@2, steps: []}", "canary.steps", "must be 1 to 20 shares"),
        ("{adapter: b@2, steps: [5, 5]}", "canary.steps", "must grow"),
        ("{adapter: b@2, steps: [50, 25]}", "canary.steps", "must grow"),
        ("{adapter: b@2, steps: [5, half]}", "canary.steps", "holds 'half'"),
        ("{adapter: b@2, steps: [5, yes]}", "canary.steps", "holds True"),
        ("{adapter: b@2, steps: [5, 100.5]}", "canary.steps", "holds 100.5"),
        (f"{{adapter: b@2, steps: {list(range(1, 22))}}}", "canary.steps", "1 to 20 shares"),
        ("{adapter: b@2, steps: [5], hold: 15}", "canary.hold", "must be a text"),
        ("{adapter: b@2, steps: [5], hold: 15min}", "canary.hold", "from 1s to 30d"),
        ("{adapter: b@2, steps: [5], hold: 0s}", "canary.hold", "from 1s to 30d"),
        ("{adapter: b@2, steps: [5], hold: 31d}", "canary.hold", "from 1s to 30d"),
        ("{adapter: b@2, share: 5, hold: 15m}", "canary.hold", "there are no steps"),
        ("{adapter: b@2, share: 5, key: 'a b'}", "canary.key", "a header's name"),
        ("{adapter: b@2, share: 5, key: ''}", "canary.key", "a header's name"),
        ("{adapter: b@2, share: 5, key: Authorization}", "canary.key", "a secret is no name"),
        ("{adapter: b@2, share: 5, min_answers: 0}", "canary.min_answers", "from 1 to 1000000"),
        ("{adapter: b@2, shares: 5}", "canary.shares", "did you mean share?"),
        ("[b@2]", "canary", "must be a mapping"),
    ],
)
def test_each_fault_is_named_with_its_limit(canary: str, field: str, message: str) -> None:
    assert message in problems(canary)[field]


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("reference: control, reference_items: 9", "leave out reference_items"),
        ("reference: control, window: 9, threshold: 0.5", "a plain rule"),
        ("reference: controls", "must be a number or report or shadow or control"),
        ("reference: control, tolerance: 0.95", "nothing could ever trip it"),
    ],
)
def test_each_fault_of_a_comparison_of_the_arms_is_named(check: str, message: str) -> None:
    guard = f"    guard: {{checks: {{errors: {{{check}}}}}}}\n"
    found = problems("{adapter: b@2, share: 5}", guard)
    assert any(message in said for said in found.values()), found


def test_the_arms_can_be_compared_only_where_there_is_a_canary() -> None:
    guard = "    guard: {checks: {errors: {reference: control}}}\n"
    assert entry_of("{adapter: b@2, share: 5}", guard).guard is not None
    with pytest.raises(TableRejected, match="has no canary to compare with its target"):
        parse(HEAD + guard, "r")


def test_time_moves_steps_only_where_a_guard_may_act() -> None:
    steps = "{adapter: b@2, steps: [5, 100], hold: 15m}"
    alerting = "    guard: {checks: {empty: {on_trip: alert}, cancelled: }}\n"
    of_others = (
        "    shadow: {target: base, share: 1%}\n"
        "    guard: {checks: {feedback: {reference: 0.1}, empty: {reference: shadow}}}\n"
    )
    for guard in ("", alerting, of_others):
        assert "no guard with a check that may act" in problems(steps, guard)["canary.hold"]
        assert plan_of("{adapter: b@2, steps: [5, 100]}", guard).hold_s is None


def refused(text: str, *adapters: str, state: AdapterState = AdapterState.APPROVED) -> Problem:
    registry = cast(Any, MemoryRegistry(*(adapter(ref) for ref in adapters)))
    with pytest.raises(TableRejected) as rejected:
        validate(parse(text, "r"), registry, lambda _: state, None)
    (problem,) = rejected.value.problems
    return problem


def test_the_canarys_adapter_is_checked_like_a_target() -> None:
    text = "version: 1\nworkflows:\n  w: {target: base, canary: {adapter: b@2, share: 5}}\n"
    missing = refused(text, "b@1")
    assert missing.field == "workflows.w.canary.adapter"
    assert "adapter b@2 is not in the registry; did you mean b@1?" in missing.message
    candidate = refused(text, "b@2", state=AdapterState.CANDIDATE)
    assert "candidate, not approved" in candidate.message


@pytest.mark.parametrize("what", ["target", "fallback"])
def test_a_canary_is_another_adapter_than_the_route_names(what: str) -> None:
    more = "" if what == "target" else "target: base, "
    text = (
        f"version: 1\nworkflows:\n  w: {{{more}{what}: a@1, canary: {{adapter: a@1, share: 5}}}}\n"
    )
    assert f"a@1 is the {what} already" in refused(text, "a@1").message


def test_a_canary_survives_the_log_and_an_edit_of_it_is_an_edit() -> None:
    registry = cast(Any, MemoryRegistry(adapter("a@1"), adapter("b@2")))
    text = HEAD + GUARD + "    canary: {adapter: b@2, steps: [1, 100], hold: 15m}\n"
    (route,) = validate(parse(text, "r"), registry, lambda _: AdapterState.APPROVED, None)
    assert isinstance(route, Route)
    tried = Target(AdapterRef("b", "2"), adapter("b@2").digest)
    assert route.canary == Canary(tried, CanaryPlan((1.0, 100.0), 900.0))
    applied = TableApplied((route,), "f", "d")
    assert decode_change(encode_change(applied)) == applied
