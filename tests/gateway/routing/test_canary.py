"""A canary as a fold of the log: it begins, grows, is promoted, aborted and restarted, and what the
file, a disable, a pin and a revocation do to it."""

from __future__ import annotations

import pytest

from gateway.errors import NotAllowed, NotFound
from gateway.routing import canary_commands, commands
from gateway.routing.assignment import CanaryPlan
from gateway.routing.canary import CanaryProgress, Phase
from gateway.routing.effective import effective
from gateway.routing.events import (
    AdapterRevoked,
    CanaryAborted,
    CanaryPromoted,
    CanaryRestarted,
    CanaryStepped,
    Change,
    Event,
    RouteDisabled,
    RouteEnabled,
    RoutePinned,
    RouteResumed,
    TableApplied,
)
from gateway.routing.fold import RoutingState, canary_of, fold_all
from gateway.routing.table import AdapterRef, Canary, Decision, Reason, Route, Target

ONE, TWO, THREE = (Target(AdapterRef("a", str(n)), f"digest{n}") for n in (1, 2, 3))
PLAN = CanaryPlan((5.0, 25.0, 100.0), 900.0)
STEP = CanaryStepped("w", TWO, 1, 25.0)
PROMOTED, ABORTED, RESTARTED = (
    CanaryPromoted("w", TWO),
    CanaryAborted("w", TWO),
    CanaryRestarted("w", TWO),
)


def table(
    tried: Target | None = TWO, plan: CanaryPlan = PLAN, target: Target = ONE, more: str = ""
) -> TableApplied:
    canary = None if tried is None else Canary(tried, plan)
    return TableApplied((Route("w", target, description=more, canary=canary),), "f", more)


NOTHING = TableApplied((), "f", "none")


def state(*changes: Change) -> RoutingState:
    return fold_all(Event(n, c, "ann", f"why {n}", float(n)) for n, c in enumerate(changes, 1))


def progress(*changes: Change) -> CanaryProgress:
    found = canary_of(state(*changes), "w")
    assert found is not None
    return found


def decision(*changes: Change) -> Decision:
    found = effective(state(*changes)).resolve("w")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "phase", "share", "since"),
    [
        ([table()], Phase.RUNNING, 5, 1),
        ([table(), STEP], Phase.RUNNING, 25, 2),
        ([table(), STEP, table(more="edited")], Phase.RUNNING, 25, 2),
        ([table(), STEP, table(target=THREE)], Phase.RUNNING, 25, 2),
        ([table(), STEP, table(plan=CanaryPlan((7.0,)))], Phase.RUNNING, 7, 3),
        ([table(), STEP, table(THREE)], Phase.RUNNING, 5, 3),
        ([table(), STEP, table(None), table()], Phase.RUNNING, 5, 4),
        ([table(), STEP, NOTHING, table()], Phase.RUNNING, 5, 4),
        ([table(), PROMOTED], Phase.PROMOTED, 100, 2),
        ([table(), PROMOTED, table(more="edited")], Phase.PROMOTED, 100, 2),
        ([table(), PROMOTED, STEP], Phase.PROMOTED, 100, 2),
        ([table(), PROMOTED, ABORTED], Phase.ABORTED, 0, 3),
        ([table(), STEP, ABORTED], Phase.ABORTED, 0, 3),
        ([table(), ABORTED, ABORTED], Phase.ABORTED, 0, 2),
        ([table(), ABORTED, STEP, PROMOTED], Phase.ABORTED, 0, 2),
        ([table(), ABORTED, table(more="edited")], Phase.ABORTED, 0, 2),
        ([table(), ABORTED, table(plan=CanaryPlan((7.0,)))], Phase.ABORTED, 0, 2),
        ([table(), ABORTED, table(None), table()], Phase.ABORTED, 0, 2),
        ([table(), ABORTED, NOTHING, table()], Phase.ABORTED, 0, 2),
        ([ABORTED, table()], Phase.ABORTED, 0, 1),
        ([table(), ABORTED, table(THREE)], Phase.RUNNING, 5, 3),
        ([table(), ABORTED, table(THREE), table()], Phase.RUNNING, 5, 4),
        ([table(), STEP, ABORTED, RESTARTED], Phase.RUNNING, 5, 4),
        ([table(), RESTARTED], Phase.RUNNING, 5, 1),
        ([table(THREE), STEP, PROMOTED, ABORTED, RESTARTED], Phase.RUNNING, 5, 1),
        ([table(), CanaryStepped("w", TWO, 9, 1.0)], Phase.RUNNING, 5, 1),
        ([table(), STEP, RouteDisabled("w"), RouteEnabled("w")], Phase.RUNNING, 25, 4),
        ([table(), STEP, RoutePinned("w", 1, Route("w", THREE))], Phase.RUNNING, 25, 2),
        (
            [table(), STEP, RoutePinned("w", 1, Route("w", THREE)), RouteResumed("w")],
            Phase.RUNNING,
            25,
            4,
        ),
    ],
)
def test_how_far_a_canary_is(changes: list[Change], phase: Phase, share: float, since: int) -> None:
    found = progress(*changes)
    assert (found.phase, found.share, found.since.revision) == (phase, share, since)


@pytest.mark.parametrize(
    ("changes", "control", "tried"),
    [
        ([table()], (ONE, Reason.ROUTE), TWO),
        ([table(), ABORTED], (ONE, Reason.ROUTE), None),
        ([table(), PROMOTED], (TWO, Reason.CANARY), TWO),
        ([table(), RouteDisabled("w")], (Target(), Reason.DISABLED), None),
        ([table(), PROMOTED, RouteDisabled("w")], (Target(), Reason.DISABLED), None),
        ([table(), RoutePinned("w", 1, Route("w", THREE))], (THREE, Reason.PINNED), None),
        ([table(), PROMOTED, RoutePinned("w", 1, Route("w", THREE))], (THREE, Reason.PINNED), None),
        ([table(), AdapterRevoked(AdapterRef("a", "2"), "digest2")], (ONE, Reason.ROUTE), None),
        (
            [table(), PROMOTED, AdapterRevoked(AdapterRef("a", "2"), "digest2")],
            (ONE, Reason.ROUTE),
            None,
        ),
        (
            [table(), AdapterRevoked(AdapterRef("a", "1"), "digest1")],
            (Target(), Reason.FALLBACK),
            TWO,
        ),
        ([table(None)], (ONE, Reason.ROUTE), None),
        ([table(), PROMOTED, table(None, target=TWO)], (TWO, Reason.ROUTE), None),
    ],
)
def test_what_answers_each_arm(
    changes: list[Change], control: tuple[Target, Reason], tried: Target | None
) -> None:
    found = decision(*changes)
    assert (found.target, found.reason) == control
    arm = found.canary_arm
    assert (None if arm is None else arm.target) == tried


def test_a_lost_canary_says_what_is_wrong_and_its_people_get_the_target() -> None:
    found = effective(
        state(table()), lost=lambda target: "gone" if target == TWO else None
    ).decisions["w"]
    assert (found.target, found.reason) == (ONE, Reason.ROUTE)
    assert found.why == "its canary answers nothing: gone"


def test_steps_are_moved_one_by_one_and_then_everything_is_the_canarys() -> None:
    changes: list[Change] = [table()]
    for expected in (25.0, 100.0):
        change = canary_commands.promote(state(*changes), "w")
        assert isinstance(change, CanaryStepped)
        assert change.share == expected
        changes.append(change)
    assert canary_commands.promote(state(*changes), "w") == PROMOTED
    assert canary_commands.promote(state(table()), "w", whole=True) == PROMOTED


def test_of_several_who_judged_a_step_one_moves_it() -> None:
    canary_commands.promote(state(table()), "w", judged=1)
    with pytest.raises(NotAllowed, match="was moved already, by ann"):
        canary_commands.promote(state(table(), STEP), "w", judged=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([table(None)], "w has no canary; routes.yaml gives it one"),
        ([table(), ABORTED], "`gateway resume w` begins it again"),
        ([table(), PROMOTED], "make it the target in routes.yaml"),
        ([table(), RouteDisabled("w")], "enable it before"),
        ([table(), RoutePinned("w", 1, Route("w", THREE))], "resume it before"),
        ([table(), AdapterRevoked(AdapterRef("a", "2"), "digest2")], "a@2 is revoked"),
    ],
)
def test_a_promotion_is_refused_with_the_reason(changes: list[Change], message: str) -> None:
    with pytest.raises(NotAllowed, match=message):
        canary_commands.promote(state(*changes), "w")


def test_an_abort_is_refused_where_there_is_nothing_to_abort() -> None:
    with pytest.raises(NotAllowed, match="aborted for w already, by ann at revision 2"):
        canary_commands.abort(state(table(), ABORTED), "w", "finish")
    with pytest.raises(NotFound, match="did you mean w"):
        canary_commands.abort(state(table()), "ww", "finish")


def test_resume_lifts_a_pin_first_and_then_an_abort() -> None:
    pinned: list[Change] = [table(), ABORTED, RoutePinned("w", 1, Route("w", THREE))]
    assert commands.resume(state(*pinned), "w") == RouteResumed("w")
    assert commands.resume(state(*pinned, RouteResumed("w")), "w") == RESTARTED
    with pytest.raises(NotAllowed, match="nothing to resume"):
        commands.resume(state(table(), STEP), "w")
    with pytest.raises(NotAllowed, match="nothing to resume"):
        commands.resume(state(table(), ABORTED, table(None)), "w")


def test_a_rollback_takes_back_the_addition_of_a_canary_and_never_pins_one() -> None:
    def roll(*changes: Change, to: int | None = None) -> RoutePinned:
        events = [Event(n, change, "ann", "", 0.0) for n, change in enumerate(changes, 1)]
        return commands.rollback(events, "w", to, "finish", lambda _: None)

    added = roll(table(None), table())
    assert (added.to_revision, added.route) == (1, Route("w", ONE))
    both = roll(table(None, target=THREE), table())
    assert (both.to_revision, both.route.target) == (1, THREE)
    named = roll(table(None, target=THREE), table(), table(target=THREE), to=2)
    assert named.route == Route("w", ONE)
    again = roll(table(None, target=THREE), table(None), table(), added)
    assert again.route.target == THREE


def test_only_a_plan_with_time_grows_by_itself_and_short_of_everything_it_waits() -> None:
    assert progress(table()).grows_by_itself
    assert not progress(table(plan=CanaryPlan((5.0, 25.0)))).grows_by_itself
    short: list[Change] = [table(plan=CanaryPlan((5.0, 25.0), 60.0)), STEP]
    assert not progress(*short).grows_by_itself
    assert progress(table(), STEP, CanaryStepped("w", TWO, 2, 100.0)).grows_by_itself
    assert not progress(table(), PROMOTED).grows_by_itself
