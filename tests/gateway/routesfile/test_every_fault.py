"""Every fault of a routes.yaml is found at once, with its place."""

from __future__ import annotations

import pytest

from gateway.errors import Problem, TableRejected
from gateway.routesfile.parse import parse
from gateway.routing.table import AdapterRef

HEAD = "version: 1\nworkflows:\n"


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(TableRejected) as rejected:
        parse(text, "routes.yaml")
    return rejected.value.problems


def test_whole_entry_is_read() -> None:
    text = HEAD + (
        "  triage:\n    target: a@1\n    fallback: b@2\n    description: d\n    max_tokens: 64\n"
        "    default_max_tokens: 16\n    temperature: 0\n    response_schema: {type: object}\n"
    )
    (entry,) = parse(text, "routes.yaml").entries
    assert (entry.workflow, entry.target, entry.fallback) == (
        "triage",
        AdapterRef("a", "1"),
        AdapterRef("b", "2"),
    )
    assert (entry.max_tokens, entry.default_max_tokens, entry.temperature) == (64, 16, 0)
    assert entry.response_schema == {"type": "object"}


def test_target_base_needs_no_adapter() -> None:
    (entry,) = parse(HEAD + "  w: {target: base}\n", "r").entries
    assert entry.target is None
    assert entry.fallback is None


def test_all_problems_are_reported_together() -> None:
    text = (
        HEAD
        + "  one: {targat: base}\n  two: {target: base, max_tokens: 0}\n  base: {target: base}\n"
    )
    assert {p.field for p in problems(text)} >= {
        "workflows.one.targat",
        "workflows.one.target",
        "workflows.two.max_tokens",
        "workflows.base",
    }


def test_unknown_key_names_the_nearest_and_its_place() -> None:
    found = problems(HEAD + "  w:\n    target: base\n    max_token: 4\n")
    assert [(p.file, p.line, p.column, p.field) for p in found] == [
        ("routes.yaml", 5, 5, "workflows.w.max_token")
    ]
    assert "max_tokens" in found[0].message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD + "  w: {target: base}\n  w: {target: base}\n", 4),
        (HEAD + "  w:\n    target: base\n    target: base\n", 5),
        ("version: 1\nversion: 1\nworkflows: {w: {target: base}}\n", 2),
    ],
)
def test_repeated_key_is_a_problem_at_its_second_place(text: str, line: int) -> None:
    (problem,) = problems(text)
    assert problem.line == line
    assert "twice" in problem.message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version: 1\nworkflows: {\n", 3),
        ("version: 1\n\tworkflows: x\n", 2),
        ("version: 1\nworkflows:\n  w: \x00\n", 3),
        (HEAD + "  w: *nowhere\n", 3),
        (HEAD + "  w: {target: base}\n---\nversion: 1\n", 4),
    ],
    ids=["open brace", "tab", "control character", "unknown alias", "two documents"],
)
def test_broken_yaml_keeps_its_line(text: str, line: int) -> None:
    (problem,) = problems(text)
    assert problem.line == line
    assert problem.column >= 1


@pytest.mark.parametrize(
    "entry",
    [
        "{target: base, max_tokens: yes}",
        "{target: base, max_tokens: 1.5}",
        "{target: base, max_tokens: -1}",
        "{target: base, temperature: .nan}",
        "{target: base, temperature: .inf}",
        "{target: base, temperature: 2.1}",
        "{target: base, max_tokens: 4, default_max_tokens: 5}",
        "{target: no-version}",
        "{target: 'a@1/../../x'}",
        '{target: "a@1\\n"}',
        "{target: [a]}",
        "{target: base, max_tokens: !!int abc}",
        "{target: base, description: 2020-13-45}",
        "{target: base, description: !!python/object:os.system x}",
        "{target: base, response_schema: &a {x: *a}}",
        "{target: base, response_schema: {default: 2020-01-01}}",
        "{target: base, response_schema: {default: .nan}}",
        "{target: base, response_schema: {enum: !!set {a, b}}}",
        "{target: base, response_schema: {1: x}}",
        "{<<: {target: base}}",
        "{target: base, [a]: b}",
        "null",
        "text",
    ],
)
def test_bad_value_is_a_problem_of_its_workflow(entry: str) -> None:
    assert all(
        p.field.startswith("workflows.w") and p.line == 3
        for p in problems(HEAD + f"  w: {entry}\n")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "version: 2\nworkflows: {w: {target: base}}",
        "version: true\nworkflows: {w: {target: base}}",
        "version: 1\nworkflows: {}",
        "version: 1",
        "workflows: {w: {target: base}}",
        HEAD + '  "w\\n": {target: base}',
        HEAD + '  "": {target: base}',
        HEAD + "  UPPER: {target: base}",
        "[" * 5000,
        HEAD + "  w: {target: base, response_schema: " + "{a: " * 3000 + "1" + "}" * 3001,
    ],
    ids=lambda text: repr(text[:50]),
)
def test_unusable_file_is_refused_never_a_crash(text: str) -> None:
    assert problems(text)
