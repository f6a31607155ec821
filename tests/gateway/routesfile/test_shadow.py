"""A route's shadow and its references are read whole, and held against the registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import NotFound, Problem, TableRejected
from gateway.guard.values import CheckKind, Reference
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routesfile.parse import parse
from gateway.routesfile.shadow import percent
from gateway.routesfile.validate import validate
from gateway.routing.codec import decode_change, encode_change
from gateway.routing.events import TableApplied
from gateway.routing.table import AdapterRef, Route, Shadow, Target

GOOD, BAD = {"text": "net", "finish": "stop"}, {"text": "", "finish": "stop"}
ANSWERS = {"answers": {"s": [GOOD] * 18 + [BAD]}}


class Registry:
    """One approved adapter, one candidate, one that is revoked; what they reported."""

    def __init__(self, report: Mapping[str, Any] | None = ANSWERS) -> None:
        states = {"a@1": "approved", "b@2": "candidate", "c@3": "revoked"}
        self.held = {
            AdapterRef.parse(text): AdapterArtifact(
                AdapterRef.parse(text), text, Path(text), "m", "f", 8, (), 1, AdapterState(state)
            )
            for text, state in states.items()
        }
        self.stated = report

    def find(self, ref: AdapterRef) -> AdapterArtifact | None:
        return self.held.get(ref)

    def refs(self) -> list[AdapterRef]:
        return sorted(self.held)

    def report(self, ref: AdapterRef) -> Mapping[str, Any] | None:
        if ref not in self.held:
            raise NotFound(f"no {ref}")
        return self.stated


def route(lines: str, registry: Registry, *, target: str = "a@1", **more: Any) -> Route:
    text = f"version: 1\nworkflows:\n  w:\n    target: {target}\n{lines}"
    return validate(parse(text, "r"), registry, lambda a: a.state, None, **more)[0]


def problems(lines: str, registry: Registry, *, target: str = "a@1") -> tuple[Problem, ...]:
    with pytest.raises(TableRejected) as rejected:
        route(lines, registry, target=target)
    return rejected.value.problems


SHADOW = "    shadow: {target: b@2, share: 12.5%, store_text: true, store_bytes: 20000}\n"
GUARD = "    guard: {checks: {empty: {reference: report, tolerance: 0.1}}}\n"


def test_a_shadow_may_be_a_candidate_and_the_log_carries_it_unchanged() -> None:
    found = route(SHADOW, Registry())
    assert found.shadow == Shadow(Target(AdapterRef("b", "2"), "b@2"), 12.5, True, 20_000)
    change = TableApplied((found,), "r", "d")
    assert decode_change(encode_change(change)) == change


@pytest.mark.parametrize(
    ("lines", "field", "message"),
    [
        ("{target: b@2}", "shadow.share", "is missing"),
        ("{share: 5%}", "shadow.target", "is missing"),
        ("{target: b@2, share: 0%}", "shadow.share", "over 0% and at most 100%"),
        ("{target: b@2, share: 0.05}", "shadow.share", "must be a text"),
        ("{target: b, share: 5%}", "shadow.target", "name@version"),
        ("{target: b@2, share: 5%, store_text: 1}", "shadow.store_text", "truth value"),
        ("{target: b@2, share: 5%, store_bytes: 5}", "shadow.store_bytes", "from 10000"),
        ("{target: b@2, share: 5%, sharp: 5%}", "shadow.sharp", "did you mean share?"),
        ("{target: b@9, share: 5%}", "shadow.target", "not in the registry"),
        ("{target: c@3, share: 5%}", "shadow.target", "is revoked"),
        ("{target: a@1, share: 5%}", "shadow.target", "own target"),
    ],
)
def test_a_faulty_shadow_is_named_with_its_place(lines: str, field: str, message: str) -> None:
    (problem,) = problems(f"    shadow: {lines}\n", Registry())
    assert problem.field == f"workflows.w.{field}"
    assert problem.line == 5
    assert message in problem.message


@pytest.mark.parametrize("text", ["10", "10 percent", "-1%", "101%", "1e1%", "%", "0.0%", "nan%"])
def test_what_is_no_percentage_is_none(text: str) -> None:
    assert percent(text) is None


def test_a_percentage_is_a_number() -> None:
    assert [percent(text) for text in ("10%", " 0.5 %", "100%")] == [10, 0.5, 100]


def test_a_reference_to_the_report_becomes_its_rate_and_number_of_answers() -> None:
    found = route(GUARD, Registry()).guard
    assert found is not None
    (check,) = found.checks
    assert (check.kind, check.compared) == (CheckKind.EMPTY, Reference.REPORT)
    assert check.reference == pytest.approx(1 / 19)
    assert check.reference_items == 19


@pytest.mark.parametrize(
    ("registry", "target", "message"),
    [
        (Registry(None), "a@1", "published without one"),
        (Registry({"gate": 1, "steps": 2}), "a@1", "holds gate, steps, and no answers of its eval"),
        (Registry(), "base", "the target is base, which has none"),
    ],
)
def test_a_report_that_does_not_say_it_is_named_with_what_to_do(
    registry: Registry, target: str, message: str
) -> None:
    (problem,) = problems(GUARD, registry, target=target)
    assert message in problem.message
    assert "state the reference as a number" in problem.message


def test_a_check_that_the_report_makes_hopeless_is_a_fault() -> None:
    bad = Registry({"answers": {"s": [BAD] * 9}})
    (problem,) = problems(GUARD, bad)
    assert "nothing could ever trip it (100.0% of 9 answers in its eval are bad)" in problem.message


def test_what_was_read_of_a_report_stands_when_the_adapter_is_gone() -> None:
    before = route(GUARD, Registry())
    gone = Registry()
    del gone.held[AdapterRef("a", "1")]
    kept = {AdapterRef("a", "1"): before.target}
    after = route(GUARD, gone, kept=kept, in_force={"w": before})
    assert after is before


def test_a_comparison_with_the_shadow_needs_one() -> None:
    guard = "    guard: {checks: {empty: {reference: shadow}}}\n"
    (problem,) = problems(guard, Registry())
    assert problem.field == "workflows.w.guard.checks.empty.reference"
    assert "give it `shadow:`" in problem.message
    found = route(SHADOW + guard, Registry()).guard
    assert found is not None
    assert found.checks[0].is_paired


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("errors: {reference: report}", "no property of an answer"),
        ("first_token: {limit_s: 1, reference: shadow}", "no property of an answer"),
        ("empty: {reference: report, reference_items: 5}", "leave out reference_items"),
        ("empty: {reference: shadow, window: 5, threshold: 0.1}", "has no reference"),
        ("empty: {reference: reports}", "must be a number or report or shadow"),
        ("empty: {reference: shadow, tolerance: 0.95}", "nothing could ever trip it"),
    ],
)
def test_a_reference_that_cannot_be_is_a_fault(check: str, message: str) -> None:
    (problem,) = problems(SHADOW + f"    guard: {{checks: {{{check}}}}}\n", Registry())
    assert message in problem.message


def test_an_edit_of_the_shadow_alone_is_another_route() -> None:
    one = route(SHADOW, Registry())
    assert one.shadow is not None
    other = dataclasses.replace(one, shadow=dataclasses.replace(one.shadow, share=1.0))
    assert not one.same(other)
