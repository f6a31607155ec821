"""A reference from the report is the check itself over the adapter's own eval answers."""

from __future__ import annotations

import pytest

from gateway.guard.detectors import Answered
from gateway.guard.references import resolved
from gateway.guard.values import CheckKind, CheckRule, GuardRule, Reference
from gateway.registry.report import eval_answers

ANSWERS = [Answered(text, "ok", "stop") for text in ["net"] * 6 + ["web"] * 3 + ["?"]]
ANSWERS[0] = Answered("net", "ok", "length")
LABELS = ("net", "web")


def of(check: CheckRule) -> tuple[object, int | None]:
    rule, missing = resolved(GuardRule((check,)), None, ANSWERS)
    assert not missing
    return rule.checks[0].reference, rule.checks[0].reference_items


def report(kind: CheckKind, **more: object) -> CheckRule:
    return CheckRule(kind, compared=Reference.REPORT, **more)  # type: ignore[arg-type]


def test_it_is_the_checks_own_bad_rate_with_the_number_of_answers() -> None:
    assert of(report(CheckKind.LABELS, labels=LABELS)) == (pytest.approx(0.1), 10)
    assert of(report(CheckKind.CUT)) == (pytest.approx(0.1), 10)
    assert of(report(CheckKind.EMPTY)) == (0, 10)
    assert of(report(CheckKind.REGEX, pattern="[a-z]+")) == (pytest.approx(0.1), 10)


def test_of_collapse_it_is_the_commonest_labels_share_among_labels() -> None:
    assert of(report(CheckKind.COLLAPSE, labels=LABELS)) == (pytest.approx(6 / 9), 9)


def test_a_stated_reference_is_left_alone() -> None:
    assert of(CheckRule(CheckKind.EMPTY, 0.3)) == (0.3, None)


def test_a_check_that_scores_none_of_the_answers_is_named() -> None:
    checks = (report(CheckKind.EMPTY), report(CheckKind.COLLAPSE, labels=("a", "b")))
    assert resolved(GuardRule(checks), None, ANSWERS)[1] == (CheckKind.COLLAPSE,)
    assert resolved(GuardRule(checks), None, [])[1] == (CheckKind.EMPTY, CheckKind.COLLAPSE)


@pytest.mark.parametrize("stated", [None, 3, [], {"s": 3}, {"s": ["net"]}, {"s": [{"text": "a"}]}])
def test_a_report_in_another_form_has_no_answers(stated: object) -> None:
    assert eval_answers({"answers": stated}) == ()
