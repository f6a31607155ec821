"""Every fault of a routes.yaml is told with line, column, field and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import TableRejected
from gateway.routesfile.parse import parse
from gateway.routing.table import AdapterRef

HEAD = "version: 1\nworkflows:\n  triage:\n"


def test_a_whole_entry_comes_through() -> None:
    text = (
        HEAD + "    target: t@2\n    fallback: t@1\n    max_tokens: 9\n    temperature: 0\n"
        "    response_schema: {type: object}\n"
    )
    entry = parse(text, "f").entries[0]
    assert (entry.target, entry.fallback) == (AdapterRef("t", "2"), AdapterRef("t", "1"))
    assert (entry.max_tokens, entry.temperature) == (9, 0)
    assert entry.response_schema == {"type": "object"}


def test_the_shipped_file_parses() -> None:
    path = Path(__file__).parents[3] / "routes.yaml"
    entries = parse(path.read_text(), str(path)).entries
    assert {e.workflow for e in entries} == {"chat", "package-facts", "package-section"}


@pytest.mark.parametrize(
    ("text", "line", "column", "field", "said"),
    [
        (HEAD + "    targt: base\n", 4, 5, "workflows.triage.targt", "did you mean target"),
        (HEAD + "    target: [\n", 5, 1, "", "not YAML"),
        (HEAD + "    target: nope\n", 4, 13, "workflows.triage.target", "name@version"),
        (HEAD + "    description: x\n", 4, 5, "workflows.triage.target", "is missing"),
        (
            HEAD + "    target: base\n    max_tokens: many\n",
            5,
            17,
            "workflows.triage.max_tokens",
            "whole number",
        ),
        (
            HEAD + "    target: base\n    target: base\n",
            5,
            5,
            "workflows.triage.target",
            "twice, first on line 4",
        ),
        (
            HEAD + "    target: base\n    temperature: 3\n",
            5,
            18,
            "workflows.triage.temperature",
            "from 0 to 2",
        ),
        ("version: 2\nworkflows: {a: {target: base}}\n", 1, 10, "version", "must be 1"),
        ("version: 1\nworkflows: {base: {target: base}}\n", 2, 13, "workflows.base", "always"),
        ("version: 1\n", 1, 1, "workflows", "is missing"),
        ("[]\n", 1, 1, "", "must hold version"),
    ],
)
def test_faults_have_their_place(text: str, line: int, column: int, field: str, said: str) -> None:
    with pytest.raises(TableRejected) as caught:
        parse(text, "routes.yaml")
    problem = caught.value.problems[0]
    assert (problem.line, problem.column, problem.field) == (line, column, field)
    assert said in problem.message
    assert str(problem).startswith(f"routes.yaml:{line}:{column}: ")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(TableRejected) as caught:
        parse(HEAD + "    target: 1\n    max_tokens: 0\n  b: 3\n", "f")
    assert len(caught.value.problems) == 3
