"""When a canary's step may be moved on: it has lasted, and the guard has seen enough and is
content."""

from __future__ import annotations

import pytest

from gateway.access.values import Mark
from gateway.guard.arm_pairs import ArmPairs
from gateway.guard.detectors import Answered, Scored
from gateway.guard.panel import Panel
from gateway.guard.promotion import outlook
from gateway.guard.values import CheckKind, CheckRule, GuardRule, OnTrip, Reference
from gateway.guard.watched import Arm, StepCount, Watched
from gateway.routing.assignment import CanaryPlan
from gateway.routing.canary import CanaryProgress, Phase
from gateway.routing.table import AdapterRef, Canary, Decision, Reason, Route, Target

TRIED = Target(AdapterRef("a", "2"), "digest2")
PLAN = CanaryPlan((5.0, 50.0, 100.0), 60.0, min_answers=3)
EMPTY = CheckRule(CheckKind.EMPTY)
GOOD, BAD = Answered("text", "ok"), Answered("", "ok")


def progress(
    step: int = 0, plan: CanaryPlan = PLAN, phase: Phase = Phase.RUNNING
) -> CanaryProgress:
    return CanaryProgress(Canary(TRIED, plan), 1, Mark(4, "ann", "", 100.0), phase, step)


def watched(*checks: CheckRule, step: int = 4) -> Watched:
    rule = GuardRule(checks)
    canary = Canary(TRIED, PLAN)
    route = Route("w", Target(AdapterRef("a", "1"), "digest1"), guard=rule, canary=canary)
    panel = Panel(rule, None)
    nothing = [0] * len(panel.signals)
    return Watched(
        Decision("w", TRIED, Reason.CANARY, 4, route),
        panel,
        "key",
        pairs=ArmPairs([signal.check.compares_arms for signal in panel.signals]),
        step=StepCount(step, [*nothing], [*nothing]),
    )


def see(watched: Watched, *answers: Answered, arm: Arm = Arm.CANARY) -> Watched:
    for answer in answers:
        watched.take(watched.score(answer, arm), arm)
    return watched


def waits(seen: Watched | None, now: float = 200.0, step: int = 0) -> tuple[str, ...]:
    found = outlook(progress(step), seen, now)
    assert found is not None
    assert found.is_due == (not found.waits_for and found.left_s == 0)
    return found.waits_for


def test_a_step_lasts_as_long_as_the_plan_says_from_its_events_time() -> None:
    content = see(watched(EMPTY), GOOD, GOOD, GOOD)
    early, late = outlook(progress(), content, 130.0), outlook(progress(), content, 160.0)
    assert early is not None
    assert late is not None
    assert (early.left_s, early.is_due) == (30.0, False)
    assert (late.left_s, late.is_due) == (0.0, True)
    assert late.seen == ("empty 0.0% of 3",)


def test_each_check_that_may_act_has_to_have_scored_enough_answers_of_this_step() -> None:
    assert waits(None) == ("no answer of this step was seen on this gateway yet",)
    assert waits(see(watched(EMPTY, step=3), GOOD, GOOD, GOOD)) == waits(None)
    assert waits(see(watched(EMPTY), GOOD, GOOD)) == ("empty has scored 2 of 3 answers",)
    assert waits(see(watched(EMPTY), GOOD, GOOD, GOOD)) == ()


def test_a_check_that_tripped_is_waited_for_for_good() -> None:
    assert waits(see(watched(EMPTY), *[BAD] * 9)) == ("empty has tripped",)


def test_checks_that_only_alert_and_feedback_are_not_waited_for() -> None:
    alerting = CheckRule(CheckKind.LENGTH, on_trip=OnTrip.ALERT, min_chars=99)
    slow = CheckRule(CheckKind.FIRST_TOKEN, limit_s=1)
    rated = CheckRule(CheckKind.FEEDBACK)
    seen = see(watched(EMPTY, alerting, slow, rated), *[GOOD] * 9)
    assert waits(seen) == ()
    for _ in range(9):
        seen.take(seen.panel.score(Scored(CheckKind.FEEDBACK, 1.0)), Arm.CANARY)
    assert waits(seen) == ("feedback has tripped",)


def test_a_comparison_with_the_control_arm_needs_its_answers_too() -> None:
    compared = CheckRule(CheckKind.EMPTY, compared=Reference.CONTROL)
    seen = see(watched(compared), *[GOOD] * 4)
    assert waits(seen) == ("empty has compared 0 of 3 pairs",)
    for _ in range(3):
        see(seen, GOOD, arm=Arm.CONTROL)
        see(seen, GOOD)
    assert waits(seen) == ()


def test_at_everything_there_is_no_control_arm_to_compare_with() -> None:
    compared = CheckRule(CheckKind.EMPTY, compared=Reference.CONTROL)
    assert waits(see(watched(compared), *[GOOD] * 4), step=2) == ()


def test_a_canary_that_is_worse_than_its_control_arm_trips_and_a_bad_hour_of_both_does_not() -> (
    None
):
    compared = CheckRule(CheckKind.EMPTY, compared=Reference.CONTROL)
    both, worse = watched(compared), watched(compared)
    for _ in range(200):
        see(both, BAD, arm=Arm.CONTROL)
        see(both, BAD)
        see(worse, GOOD, arm=Arm.CONTROL)
        see(worse, BAD)
    (alike,), (found,) = both.panel.evidence(), worse.panel.evidence()
    assert not alike.tripped
    assert found.tripped
    assert "in 200 pairs of answers, the rate of bad ones is +100.0% against the control's" in str(
        found
    )


@pytest.mark.parametrize(
    "progress",
    [
        progress(plan=CanaryPlan((5.0, 100.0))),
        progress(step=1, plan=CanaryPlan((5.0, 50.0), 60.0)),
        progress(phase=Phase.PROMOTED),
        progress(phase=Phase.ABORTED),
    ],
    ids=["no time", "last step short of everything", "promoted", "aborted"],
)
def test_what_a_hand_moves_has_no_outlook(progress: CanaryProgress) -> None:
    assert outlook(progress, None, 1e9) is None
