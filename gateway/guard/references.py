"""References that a route does not state as numbers: what to expect from the adapter's own eval.

The check itself is put to the answers that the adapter gave in its target eval, so that the rate
is of the very thing that is watched, whatever the check's settings. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.guard.detectors import Answered, Detector, detector, label_detector
from gateway.guard.values import CheckKind, CheckRule, GuardRule, Reference


def from_report(
    check: CheckRule, schema: Mapping[str, Any] | None, answers: Sequence[Answered]
) -> CheckRule | None:
    """`check` with the bad rate among `answers` and their number as its reference; None where it
    scores none of them. `schema` is the route's."""
    if check.kind is CheckKind.COLLAPSE:
        scores = [_scores(label_detector(label, check.labels), answers) for label in check.labels]
        rates = [sum(each) / len(each) for each in scores if each]
        if not rates:
            return None
        # The commonest label's: what no label's share is to exceed.
        return replace(check, reference=max(rates), reference_items=len(scores[0]))
    scored = _scores(detector(check, schema), answers)
    if not scored:
        return None
    return replace(check, reference=sum(scored) / len(scored), reference_items=len(scored))


def resolved(
    rule: GuardRule, schema: Mapping[str, Any] | None, answers: Sequence[Answered]
) -> tuple[GuardRule, tuple[CheckKind, ...]]:
    """The guard with every reference to the report resolved, and the checks that `answers` say
    nothing of."""
    checks, missing = [], []
    for check in rule.checks:
        found: CheckRule | None = check
        if check.compared is Reference.REPORT:
            found = from_report(check, schema, answers)
            if found is None:
                missing.append(check.kind)
        checks.append(found or check)
    return replace(rule, checks=tuple(checks)), tuple(missing)


def _scores(detect: Detector, answers: Sequence[Answered]) -> list[float]:
    return [score for answer in answers if (score := detect(answer)) is not None]
