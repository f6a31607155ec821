"""A route's guard is read whole, and every fault of it has its place."""

from __future__ import annotations

import pytest

from gateway.errors import Problem, TableRejected
from gateway.guard.values import CheckKind, CheckRule, GuardRule, OnTrip
from gateway.routesfile.parse import parse
from gateway.routing.codec import decode_change, encode_change
from gateway.routing.events import TableApplied
from gateway.routing.table import BASE_TARGET, Route

HEAD = "version: 1\nworkflows:\n  w:\n    target: base\n    guard:\n"


def guard_of(text: str) -> GuardRule | None:
    return parse(HEAD + text, "r").entries[0].guard


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(TableRejected) as rejected:
        guard_of(text)
    return rejected.value.problems


WHOLE = """\
      alpha: 0.02
      on_trip: rollback
      checks:
        schema: {reference: 0.01, reference_items: 240, tolerance: 0.03, weight: 2}
        labels: {labels: [a, b], on_trip: disable}
        empty:
        cut: {window: 100, threshold: 0.5}
        regex: {pattern: "[a-z]+"}
        length: {min_chars: 1, max_chars: 9}
        script: {scripts: [LATIN]}
        first_token: {limit_s: 2}
"""
RULE = GuardRule(
    (
        CheckRule(CheckKind.SCHEMA, 0.01, 240, 0.03, 2),
        CheckRule(CheckKind.LABELS, labels=("a", "b"), on_trip=OnTrip.DISABLE),
        CheckRule(CheckKind.EMPTY),
        CheckRule(CheckKind.CUT, window=100, threshold=0.5),
        CheckRule(CheckKind.REGEX, pattern="[a-z]+"),
        CheckRule(CheckKind.LENGTH, min_chars=1, max_chars=9),
        CheckRule(CheckKind.SCRIPT, scripts=("LATIN",)),
        CheckRule(CheckKind.FIRST_TOKEN, limit_s=2),
    ),
    alpha=0.02,
    on_trip=OnTrip.ROLLBACK,
)


def test_a_whole_guard_is_read() -> None:
    assert guard_of(WHOLE) == RULE


def test_without_one_nothing_is_watched() -> None:
    assert parse("version: 1\nworkflows: {w: {target: base}}", "r").entries[0].guard is None


def test_the_log_carries_it_unchanged() -> None:
    change = TableApplied((Route("w", BASE_TARGET, guard=RULE),), "r", "d")
    assert decode_change(encode_change(change)) == change


def test_an_unknown_check_names_the_nearest_and_its_place() -> None:
    (problem,) = problems("      checks:\n        empty:\n        refusl: {}\n")
    assert (problem.line, problem.column) == (8, 9)
    assert problem.field == "workflows.w.guard.checks.refusl"
    assert "refusal" in problem.message


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("      checks: {empty: {tolerence: 0.1}}", "checks.empty.tolerence", "tolerance"),
        ("      checks: {empty: {tolerance: 0}}", "checks.empty.tolerance", "0.0001"),
        ("      checks: {empty: {reference: 1.5}}", "checks.empty.reference", "from 0 to 1"),
        ("      checks: {empty: {reference: 0.94}}", "checks.empty", "0.95"),
        ("      checks: {empty: {reference_items: 1}}", "checks.empty", "1 items"),
        ("      checks: {empty: {window: 10}}", "checks.empty", "threshold"),
        ("      checks: {empty: {on_trip: stop}}", "checks.empty.on_trip", "rollback"),
        ("      checks: {labels: {}}", "checks.labels.labels", "missing"),
        ("      checks: {labels: {labels: [a, a]}}", "checks.labels.labels", "different"),
        ("      checks: {labels: {labels: [1]}}", "checks.labels.labels", "quote"),
        ("      checks: {labels: {labels: []}}", "checks.labels.labels", "1 to 200"),
        ("      checks: {regex: {pattern: '('}}", "checks.regex.pattern", "compile"),
        ("      checks: {schema: {schema: {type: 3}}}", "checks.schema.schema", "schema"),
        ("      checks: {schema: {schema: {enum: [2020-01-01]}}}", "checks.schema.schema", "JSON"),
        ("      checks: {first_token: {}}", "checks.first_token.limit_s", "missing"),
        ("      checks: {feedback: {}}", "checks.feedback.reference", "missing"),
        ("      checks: {probes: {}}", "checks.probes.tolerance", "missing"),
        ("      checks: {probes: {set: ../x, tolerance: 0.1}}", "checks.probes.set", "no name"),
        (
            "      checks: {probes: {every_s: 0.1, tolerance: 0.1}}",
            "checks.probes.every_s",
            "from 1",
        ),
        ("      checks: {probes: {reference: 0, tolerance: 0.1}}", "checks.probes.reference", ""),
        ("      checks: {}", "checks", "at least one"),
        ("      checks: [empty]", "checks", "mapping"),
        ("      checks: {empty: 3}", "checks.empty", "mapping"),
        ("      alpha: 0.01", "checks", "missing"),
        ("      checks: {empty: }\n      alpha: 0.9", "alpha", "0.5"),
        ("      checks: {empty: }\n      alpha: .nan", "alpha", "0.5"),
        ("      - empty", "", "mapping"),
    ],
)
def test_a_fault_is_told_with_its_field(text: str, field: str, said: str) -> None:
    found = problems(text + "\n")
    at = "workflows.w.guard" + (f".{field}" if field else "")
    assert [p.message for p in found if p.field == at and said in p.message], found
    assert all(p.line >= 5 for p in found)
