"""Probe sets are read strictly, with the place of every fault, and again when they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import BadInput
from gateway.guard.values import CheckKind, CheckRule
from gateway.probes.reading import DEFAULT, Line, ProbeSets, dumped, read_set
from gateway.probes.values import Choices, Probe

ASKED = {"messages": [{"role": "user", "content": "hello"}]}
CHECKED = {"suite": "chat", "id": "c-1", **ASKED, "max_tokens": 8, "check": "format"}
CHOSEN = {
    "suite": "facts",
    "id": "f-1",
    "prompt": "One and",
    "choices": [" two", " ten"],
    "right": 0,
}


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_set_is_read_by_suite(tmp_path: Path) -> None:
    probes = read_set(written(tmp_path / "a.jsonl", CHECKED, CHOSEN), "a")
    assert probes.size == 2
    assert probes.suites == {
        "chat": (
            Probe(
                "chat/c-1",
                CheckRule(CheckKind.FORMAT),
                ({"role": "user", "content": "hello"},),
                max_tokens=8,
            ),
        ),
        "facts": (Probe("facts/f-1", Choices((" two", " ten"), 0), prompt="One and"),),
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"suite": "Facts!"}, ":2: suite: "),
        ({"prompt": ""}, "messages or a prompt"),
        (ASKED, "messages or a prompt"),
        ({"choices": []}, "a check or choices"),
        ({"check": "empty"}, "a check or choices"),
        ({"choices": [" two"]}, "two texts or more"),
        ({"choices": [" two", " "]}, "none empty"),
        ({"right": 2}, "the right choice"),
        ({"right": None}, "the right choice"),
        ({"pattern": "x"}, "check regex"),
        ({"choices": [], "check": "regex", "pattern": "("}, "does not compile"),
        ({"choices": [], "check": "likes"}, ":2: check: "),
        ({"max_tokens": 0}, ":2: max_tokens: "),
        ({"answer": "two"}, ":2: answer: "),
    ],
    ids=str,
)
def test_a_fault_names_file_line_and_what_is_wrong(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.jsonl", CHECKED, {**CHOSEN, **change})
    with pytest.raises(BadInput, match=r"a\.jsonl:2: ") as refused:
        read_set(path, "a")
    assert says in refused.value.message


def test_an_id_that_stands_twice_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r":2: id 'c-1' stands twice"):
        read_set(written(tmp_path / "a.jsonl", CHECKED, CHECKED), "a")
    with pytest.raises(BadInput, match="has 0 probes"):
        read_set(written(tmp_path / "b.jsonl"), "b")


def test_a_set_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="trainer probes"):
        ProbeSets(tmp_path).get("none")


def test_a_file_that_changed_is_read_again_and_another_is_not(tmp_path: Path) -> None:
    sets = ProbeSets(tmp_path)
    written(tmp_path / "a.jsonl", CHECKED)
    first = sets.get("a")
    assert sets.get("a") is first
    written(tmp_path / "a.jsonl", CHECKED, CHOSEN)
    assert sets.get("a").size == 2
    assert sets.get("a").digest != first.digest


def test_a_line_is_written_as_it_is_read(tmp_path: Path) -> None:
    lines = [Line.model_validate(each) for each in (CHECKED, CHOSEN)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{dumped(line)}\n" for line in lines))
    assert [json.loads(text) for text in path.read_text().splitlines()] == [CHECKED, CHOSEN]


def test_the_shipped_set_is_there(tmp_path: Path) -> None:
    shipped = ProbeSets(tmp_path).get(DEFAULT)
    assert shipped.size > 500
    assert len(shipped.suites) > 5
