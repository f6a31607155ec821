"""The fold, the effective table and the commands on it: pure, so told by values alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.errors import NotAllowed, NotFound
from gateway.registry.values import AdapterState
from gateway.routing import commands
from gateway.routing.effective import changed_workflows, effective, view
from gateway.routing.events import (
    AdapterApproved,
    AdapterRevoked,
    Change,
    Event,
    RouteDisabled,
    RouteEnabled,
    RoutePinned,
    RouteResumed,
    TableApplied,
    TableEdited,
)
from gateway.routing.fold import RoutingState, fold, fold_all
from gateway.routing.table import BASE_TARGET, AdapterRef, Reason, Route, Target


def to(name: str) -> Target:
    return BASE_TARGET if name == "base" else Target(AdapterRef(name, "1"), name * 4)


def table(target: str = "a", fallback: str = "base", workflow: str = "w") -> TableApplied:
    return TableApplied((Route(workflow, to(target), to(fallback)),), "routes.yaml", target)


def revoked(name: str) -> AdapterRevoked:
    return AdapterRevoked(AdapterRef(name, "1"), name * 4)


def approved(name: str) -> AdapterApproved:
    return AdapterApproved(AdapterRef(name, "1"), name * 4)


def events(*changes: Change) -> list[Event]:
    return [Event(n, change, "ada", "why", float(n)) for n, change in enumerate(changes, 1)]


def published(digest: str) -> AdapterState | None:
    return AdapterState.APPROVED


PIN_B = RoutePinned("w", 1, Route("w", to("b")))


@pytest.mark.parametrize(
    ("changes", "target", "reason"),
    [
        ([table("a")], "a@1", Reason.ROUTE),
        ([table("base")], "base", Reason.ROUTE),
        ([table("a"), RouteDisabled("w")], "base", Reason.DISABLED),
        ([table("a", "b"), RouteDisabled("w")], "b@1", Reason.DISABLED),
        ([table("a", "a"), RouteDisabled("w")], "base", Reason.DISABLED),
        ([table("a", "b"), revoked("b"), RouteDisabled("w")], "base", Reason.DISABLED),
        ([table("a"), RouteDisabled("w"), RouteEnabled("w")], "a@1", Reason.ROUTE),
        ([table("a"), PIN_B], "b@1", Reason.PINNED),
        ([table("a"), PIN_B, RouteDisabled("w")], "base", Reason.DISABLED),
        ([table("a"), PIN_B, RouteDisabled("w"), RouteEnabled("w")], "b@1", Reason.PINNED),
        ([table("a"), PIN_B, table("c")], "b@1", Reason.PINNED),
        ([table("a"), PIN_B, table("c"), RouteResumed("w")], "c@1", Reason.ROUTE),
        ([table("a"), PIN_B, revoked("b")], "base", Reason.FALLBACK),
        ([table("a", "b"), revoked("a")], "b@1", Reason.FALLBACK),
        ([table("a", "b"), revoked("a"), revoked("b")], "base", Reason.FALLBACK),
        ([table("a"), revoked("a"), approved("a")], "a@1", Reason.ROUTE),
        ([table("a"), RouteDisabled("w"), table("b")], "base", Reason.DISABLED),
        (
            [table("a"), RouteDisabled("w"), table("b", workflow="x"), table("b")],
            "base",
            Reason.DISABLED,
        ),
    ],
)
def test_where_a_workflow_goes_and_why(
    changes: Sequence[Change], target: str, reason: Reason
) -> None:
    decision = effective(fold_all(events(*changes)), published).resolve("w")
    assert decision is not None
    assert (str(decision.target), decision.reason) == (target, reason)
    assert decision.revision == len(changes)


def test_published_as_revoked_is_unusable_until_the_log_says_otherwise() -> None:
    def says(digest: str) -> AdapterState | None:
        return AdapterState.REVOKED

    assert effective(fold_all(events(table("a"))), says).decisions["w"].reason is Reason.FALLBACK
    state = fold_all(events(table("a"), approved("a")))
    assert effective(state, says).decisions["w"].reason is Reason.ROUTE


def test_base_is_always_there_and_a_removed_workflow_is_not() -> None:
    assert effective(RoutingState()).decisions["base"].reason is Reason.DEFAULT
    state = fold_all(events(table(), RouteDisabled("w"), table("b", workflow="x")))
    assert effective(state).resolve("w") is None
    assert "w" in state.overrides


def test_fold_refuses_a_gap_and_leaves_its_argument_alone() -> None:
    one, two = events(table(), RouteDisabled("w"))
    state = fold(RoutingState(), one)
    with pytest.raises(ValueError, match="cannot follow"):
        fold(RoutingState(), two)
    fold(state, two)
    assert not state.overrides


def test_resolve_answers_from_ten_thousand_routes() -> None:
    many = tuple(Route(f"w{n}", to("a")) for n in range(10_000))
    live = effective(fold_all(events(TableApplied(many, "routes.yaml", "d"))), published)
    assert len(live.decisions) == 10_001
    for name in ("w0", "w9999"):
        decision = live.resolve(name)
        assert decision is not None
        assert decision.workflow == name
    assert live.resolve("w10000") is None


def test_commands_refuse_what_would_change_nothing() -> None:
    state = fold_all(events(table()))
    with pytest.raises(NotAllowed, match="not disabled"):
        commands.enable(state, "w")
    with pytest.raises(NotAllowed, match="not pinned"):
        commands.resume(state, "w")
    off = fold_all(events(table(), RouteDisabled("w")))
    with pytest.raises(NotAllowed, match="by ada at revision 2"):
        commands.disable(off, "w", "finish")
    with pytest.raises(NotAllowed, match="base"):
        commands.disable(state, "base", "finish")
    with pytest.raises(NotFound, match="did you mean ticket"):
        commands.disable(fold_all(events(table(workflow="ticket"))), "tickets", "finish")


def roll(changes: Sequence[Change], to_revision: int | None = None) -> RoutePinned:
    return commands.rollback(events(*changes), "w", to_revision, "finish", published)


def test_rollback_goes_to_the_newest_route_that_differs() -> None:
    pin = roll([table("a"), table("b"), table("c"), RouteDisabled("w"), table("c")])
    assert (str(pin.route.target), pin.to_revision) == ("b@1", 2)


def test_rollback_to_a_revision_takes_its_route() -> None:
    pin = roll([table("a"), table("b"), table("c")], 1)
    assert (str(pin.route.target), pin.to_revision) == ("a@1", 1)


@pytest.mark.parametrize(
    ("changes", "to_revision", "error", "match"),
    [
        ([table("a")], None, NotAllowed, "never had another route"),
        ([table("a"), RouteDisabled("w")], None, NotAllowed, "never had another route"),
        ([table("a", workflow="x"), table("a")], 1, NotFound, "did not exist at revision 1"),
        ([table("a")], 9, NotFound, "newest is 1"),
        ([table("a")], 0, NotFound, "newest is 1"),
        ([table("a"), table("b"), table("b")], 2, NotAllowed, "already"),
        ([table("a"), table("b"), revoked("a")], 1, NotAllowed, "a@1 is revoked"),
        ([table("a"), table("b"), revoked("a")], None, NotAllowed, "a@1 is revoked"),
    ],
)
def test_rollback_refuses_with_the_reason(
    changes: Sequence[Change], to_revision: int | None, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        roll(changes, to_revision)


def test_one_edit_of_a_large_table_is_a_small_event() -> None:
    many = tuple(Route(f"w{n:03}", to("a")) for n in range(100))
    state = fold_all(events(TableApplied(many, "routes.yaml", "d")))
    edited = (*many[:4], replace(many[4], target=to("b")), *many[6:], Route("x", to("a")))
    change = commands.apply(state, TableApplied(edited, "routes.yaml", "e"))
    assert change == TableEdited((edited[4], edited[-1]), ("w005",), "routes.yaml", "e")
    after = fold(state, Event(2, change, "", "", 0.0))
    assert tuple(after.routes.values()) == edited
    assert (after.table_digest, after.file_digest) == ("e", "e")


def test_a_schema_whose_keys_changed_places_is_an_edit() -> None:
    many = tuple(Route(f"w{n}", to("a"), response_schema={"p": n, "q": 1}) for n in range(9))
    state = fold_all(events(TableApplied(many, "routes.yaml", "d")))
    turned = replace(many[0], response_schema={"q": 1, "p": 0})
    change = commands.apply(state, TableApplied((turned, *many[1:]), "routes.yaml", "e"))
    assert isinstance(change, TableEdited)
    assert [list(r.response_schema or ()) for r in change.routes] == [["q", "p"]]


def test_a_change_of_one_route_decides_that_route_alone() -> None:
    many = tuple(Route(f"w{n}", to("a")) for n in range(50))
    history = events(TableApplied(many, "routes.yaml", "d"), RouteDisabled("w7"))
    one = view(fold_all(history[:1]))
    two = view(fold_all(history[1:], one.state), before=one)
    assert changed_workflows(one.table, two.table) == {"w7"}
    assert {d.revision for d in two.table.decisions.values()} == {2}
