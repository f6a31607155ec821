"""What is checked before any step: duplicates, leaks, balance, length; and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_tokenizer
from tests.trainer.worked import (
    anchor_prompts,
    chat,
    make_recipe,
    settings,
    target_rows,
    write_jsonl,
)
from trainer.data.checks import SuiteText, skeleton
from trainer.data.prepare import PreparedData, check, prepare
from trainer.data.rows import Row
from trainer.errors import DataError, LeakFound
from trainer.recipe import Recipe


def answered(rows: Sequence[Row]) -> list[Row]:
    return [replace(row, answer=f"it is {row.id}", ended=i % 2 == 0) for i, row in enumerate(rows)]


def prepared(recipe: Recipe, texts: Sequence[SuiteText] = ()) -> PreparedData:
    tokenizer = make_tokenizer()
    return prepare(recipe, *check(recipe, tokenizer, texts, "tiny"), tokenizer, answered)


def with_data(**changes: Any) -> dict[str, Any]:
    return {"data": settings()["data"] | changes}


def test_every_part_is_counted_with_source_and_digest(tmp_path: Path) -> None:
    made = prepared(make_recipe(tmp_path, budget={"steps": 60, "batch_size": 4}))
    target, refusal, chats = made.manifest.parts
    assert (target.kind, target.used, refusal.kind, chats.answers) == (
        "target",
        40,
        "refusal",
        "base",
    )
    assert target.loss_tokens == sum(row.answer_len for row in made.rows[:40])
    assert len(target.sha256) == 64
    assert made.manifest.anchor_share == pytest.approx(0.5, abs=0.02)
    assert sum(made.manifest.shares.values()) == pytest.approx(1, abs=1e-3)
    assert len(made.examples) == 3


def test_a_cut_answer_of_the_base_has_no_end(tmp_path: Path) -> None:
    made = prepared(make_recipe(tmp_path))
    end = make_tokenizer().eos_token_id
    chats = made.rows[-8:]
    assert [row.tokens[-1] == end for row in chats] == [True, False] * 4


def test_duplicates_are_left_out_and_named(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    rows = target_rows()
    question = rows[3]["messages"][0]["content"]
    rows += [chat(question.upper(), "red"), chat(f"{question} ", "blue")]
    write_jsonl(tmp_path / "train.jsonl", rows)
    made = prepared(recipe)
    assert made.manifest.parts[0].duplicates == 2
    assert [(d.row, d.earlier) for d in made.findings.duplicates] == [
        ("train.jsonl:41", "train.jsonl:4"),
        ("train.jsonl:42", "train.jsonl:4"),
    ]


@pytest.mark.parametrize(
    "text",
    ["Name: fox0\nDoes: jumps over key 0\nColour?", "name fox0 does jumps over key 0 please"],
)
def test_a_leak_is_refused_and_its_pair_named(tmp_path: Path, text: str) -> None:
    texts = [SuiteText("colours", "item-7", text), SuiteText("facts", "a", "Where is Rome?")]
    recipe = make_recipe(tmp_path, **with_data(near_duplicate=0.4))
    with pytest.raises(LeakFound, match=r"train\.jsonl:1 ~ colours item-7"):
        prepared(recipe, texts)
    allowed = make_recipe(tmp_path, **with_data(near_duplicate=0.4, allow_leaks=True))
    assert len(prepared(allowed, texts).findings.leaks) == 1


def test_an_anchor_in_a_guardrail_is_a_leak_too(tmp_path: Path) -> None:
    text = anchor_prompts()[2]["messages"][0]["content"]
    with pytest.raises(LeakFound, match=r"chat\.jsonl:3 ~ chat 1"):
        prepared(make_recipe(tmp_path), [SuiteText("chat", "1", text)])


def test_one_sided_answers_are_refused(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, **with_data(max_majority=0.3))
    with pytest.raises(DataError, match=r"data\.max_majority"):
        prepared(recipe)


def test_over_long_rows_are_counted_not_cut(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, **with_data(max_tokens=100))
    write_jsonl(tmp_path / "train.jsonl", [*target_rows(), chat("dog " * 90, "red")])
    made = prepared(recipe)
    assert (made.manifest.parts[0].over_long, made.manifest.parts[0].used) == (1, 40)
    assert max(len(row.tokens) for row in made.rows) <= 100


def test_a_part_with_nothing_left_is_named(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, **with_data(max_tokens=8))
    with pytest.raises(DataError, match=r"data\.target\.0: no row of train\.jsonl is left"):
        prepared(recipe)


def test_a_format_is_seen_through_the_words_that_vary() -> None:
    found = skeleton([f"Package: lib{i}\nSummary: the {i} of {i * 3}\nSection?" for i in range(9)])
    assert found.text == "Package: …\nSummary: the … of …\nSection?"
    assert found.share == 1
