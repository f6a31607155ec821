"""A workflow's guard against what it refers to: the adapter's eval report, the route's shadow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.guard.detectors import Answered
from gateway.guard.references import resolved
from gateway.guard.values import GuardRule, Reference
from gateway.registry.report import eval_answers
from gateway.routesfile.guard import hopeless
from gateway.routesfile.parse import Entry
from gateway.routing.table import AdapterRef, Route, Target

_DO = "state the reference as a number, or compare with the route's shadow (reference: shadow)"
Fault = Callable[[str, str], None]  # notes a problem of a field


class ReportSource(Protocol):
    """What is asked of the registry."""

    def report(self, ref: AdapterRef) -> Mapping[str, Any] | None: ...


def guard_of(
    entry: Entry, target: Target, registry: ReportSource, in_force: Route | None, fault: Fault
) -> GuardRule | None:
    """The guard of `entry` with its references resolved; faults are noted. Blocks (reads reports).

    Where the report cannot be had any more, what was read of it for the route `in_force` stands.
    """
    rule = entry.guard
    if rule is None:
        return None
    for check in rule.checks:
        if check.compared is Reference.SHADOW and entry.shadow is None:
            field = f"guard.checks.{check.kind}.reference"
            fault(field, "is shadow, and the workflow has none; give it `shadow:`")
    if all(check.compared is not Reference.REPORT for check in rule.checks):
        return rule
    if target.ref is None:
        fault("guard", f"refers to a report, and the target is {target}, which has none; {_DO}")
        return rule
    before = None if in_force is None or in_force.target != target else in_force.guard
    if before is not None and unresolved(before) == rule:
        return before
    try:
        report = registry.report(target.ref)
    except GatewayError as error:
        fault("guard", f"refers to the report of {target}: {error.message}")
        return rule
    answers = [Answered(a.text, "ok", a.finish) for a in eval_answers(report or {})]
    found, missing = resolved(rule, entry.response_schema, answers)
    for kind in missing:
        fault(
            f"guard.checks.{kind}.reference",
            f"is report, and the report of {target} {_says_nothing(report, len(answers))}; {_DO}",
        )
    for check, message in hopeless(found):
        if check.kind not in missing and check.compared is Reference.REPORT:
            bad = f"{check.reference:.1%} of {check.reference_items} answers in its eval are bad"
            fault(f"guard.checks.{check.kind}", f"{message} ({bad})")
    return found


def unresolved(rule: GuardRule) -> GuardRule:
    """The guard as its file states it: without what was read from a report."""
    return replace(
        rule,
        checks=tuple(
            replace(check, reference=0.0, reference_items=None)
            if check.compared is Reference.REPORT
            else check
            for check in rule.checks
        ),
    )


def _says_nothing(report: Mapping[str, Any] | None, answers: int) -> str:
    if report is None:
        return "is not there: it was published without one"
    if answers:
        return f"has {answers} answers of its eval, none of which this check scores"
    return (
        f"holds {', '.join(report) or 'nothing'}, and no answers of its eval; an adapter that "
        "`trainer register` publishes has them"
    )
