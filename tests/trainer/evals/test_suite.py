"""Reading suites: what is in them, and every refusal by file, line and key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import SuiteError
from trainer.evals.suite import read_suite, read_suites, split_of, texts_for_leaks
from trainer.evals.values import Split, SuiteKind

SETTINGS: dict[str, Any] = {
    "name": "capitals",
    "kind": "guardrail",
    "family": "facts",
    "description": "Capitals of countries",
    "source": "written for this test",
    "licence": "Apache-2.0",
    "items": "items.jsonl",
    "checks": [
        {"check": "contains", "margin": 0.1},
        {"check": "exact_match", "primary": False},
    ],
    "generation": {"max_tokens": 8},
    "system": "Answer shortly.",
}
ITEM: dict[str, Any] = {
    "id": "france",
    "messages": [{"role": "user", "content": "Capital of France?"}],
    "expected": "Paris",
}


def write(folder: Path, *items: Mapping[str, Any] | str, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in {**SETTINGS, **changes}.items() if v is not None}
    (folder / "suite.yaml").write_text(yaml.safe_dump(settings))
    rows = [item if isinstance(item, str) else json.dumps(item) for item in items or (ITEM,)]
    (folder / "items.jsonl").write_text("\n".join(rows))
    return folder


def test_a_suite_is_read_whole(tmp_path: Path) -> None:
    second = {"prompt": "The capital of Spain is", "expected": ["Madrid"]}
    suite = read_suite(write(tmp_path / "s", ITEM, second))
    assert (suite.name, suite.kind, suite.family) == ("capitals", SuiteKind.GUARDRAIL, "facts")
    assert suite.generation.max_tokens == 8
    assert [m["role"] for m in suite.items[0].messages] == ["system", "user"]
    assert suite.items[1].id != ""
    first, other = suite.measures
    assert (first.name, first.margin, first.binary) == ("capitals/contains", 0.1, True)
    assert (other.primary, first.primary) == (False, True)
    assert texts_for_leaks(suite)[0] == ("france", "Capital of France?")


def test_an_item_keeps_its_id_wherever_it_stands(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "expected": "x"} for i in range(4)]
    forward = read_suite(write(tmp_path / "a", *rows))
    backward = read_suite(write(tmp_path / "b", *reversed(rows)))
    assert {i.prompt: i.id for i in forward.items} == {i.prompt: i.id for i in backward.items}


def test_digest_follows_settings_and_items(tmp_path: Path) -> None:
    digests = {
        read_suite(write(tmp_path / "s", *items, **changes)).digest
        for items, changes in [
            ((ITEM,), {}),
            (({**ITEM, "expected": "Lyon"},), {}),
            ((ITEM,), {"description": "Other"}),
        ]
    }
    assert len(digests) == 3
    assert read_suite(write(tmp_path / "s")).digest == read_suite(write(tmp_path / "t")).digest


@pytest.mark.parametrize(
    ("changes", "items", "message"),
    [
        ({"licens": "x"}, (), "unknown key 'licens'; did you mean 'licence'?"),
        ({"generation": {"max_token": 3}}, (), "did you mean 'max_tokens'?"),
        ({"licence": None}, (), "licence: Field required"),
        ({"kind": "guard"}, (), "kind: Input should be 'target' or 'guardrail'"),
        ({"checks": [{"check": "contain", "margin": 1}]}, (), "did you mean 'contains'?"),
        ({"checks": [{"check": "contains", "margn": 1}]}, (), "did you mean 'margin'?"),
        (
            {"checks": [{"check": "contains", "margin": 1, "params": {"ignorecase": True}}]},
            (),
            r"checks\[0\].params: unknown key 'ignorecase'; did you mean 'ignore_case'?",
        ),
        ({"checks": [{"check": "contains", "margin": 1}] * 2}, (), "contains stands there twice"),
        ({"checks": [{"check": "contains"}]}, (), "needs a margin above 0"),
        ({"checks": [{"check": "contains", "primary": False}]}, (), "none is primary"),
        ({"items": "other.jsonl"}, (), "other.jsonl cannot be read"),
        ({}, ("",), "has no items"),
        ({}, (ITEM, "{"), r"items.jsonl:2: not JSON"),
        ({}, (ITEM, {**ITEM, "id": "b", "mesages": []}), ":2: unknown key 'mesages'; did you mean"),
        ({}, (ITEM, ITEM), ":2: id 'france' stands there twice"),
        ({}, ({**ITEM, "expected": None},), ":1: check contains: expected must be a text"),
        ({}, ({"id": "x", "expected": "y"},), "the item needs messages or a prompt"),
        (
            {},
            ({**ITEM, "messages": [{"role": "assistant", "content": "Paris"}]},),
            "put the answer into expected",
        ),
        (
            {},
            ({**ITEM, "messages": [{"role": "user", "contents": "?"}]},),
            "unknown key 'messages.0.contents'; did you mean 'content'?",
        ),
        ({}, ({**ITEM, "choices": ["a", "b"], "gold": 2},), "gold is 2, there are 2 choices"),
    ],
)
def test_every_fault_is_named(
    tmp_path: Path, changes: dict[str, Any], items: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(SuiteError, match=message.replace("?", r"\?")):
        read_suite(write(tmp_path / "s", *items, **changes))


def test_a_folder_of_suites_gives_all_and_names_are_unique(tmp_path: Path) -> None:
    write(tmp_path / "all" / "b", name="b")
    write(tmp_path / "all" / "a", name="a")
    assert [suite.name for suite in read_suites([tmp_path / "all"])] == ["a", "b"]
    write(tmp_path / "more", name="a")
    with pytest.raises(SuiteError, match="both named 'a'"):
        read_suites([tmp_path / "all", tmp_path / "more"])
    with pytest.raises(SuiteError, match="is not a folder"):
        read_suites(["nowhere"])


def test_about_a_third_of_items_is_for_choosing() -> None:
    chosen = sum(split_of(f"item-{i}") is Split.SELECT for i in range(3000))
    assert 900 < chosen < 1100


@given(st.text(min_size=1))
def test_an_item_is_on_one_side_for_ever(item_id: str) -> None:
    assert split_of(item_id) is split_of(item_id)
    assert split_of(item_id) in {Split.SELECT, Split.GATE}
