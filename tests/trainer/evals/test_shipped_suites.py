"""The shipped suites: all are read, large enough, licensed and apart from training data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.evals.suite import GUARDRAILS, read_suite, read_suites, texts_for_leaks
from trainer.evals.values import Split, SuiteKind

RECIPES = Path(__file__).parents[3] / "recipes"
DEFAULT = read_suites(["default"])


def test_the_default_guardrails_cover_many_families() -> None:
    assert sum(len(suite.items) for suite in DEFAULT) >= 900
    assert len({suite.family for suite in DEFAULT}) >= 6
    assert 10 <= sum(m.primary for suite in DEFAULT for m in suite.measures) <= 14
    assert all(suite.kind is SuiteKind.GUARDRAIL for suite in DEFAULT)
    size = sum(path.stat().st_size for path in GUARDRAILS.rglob("*") if path.is_file())
    assert size < 2_000_000


@pytest.mark.parametrize("suite", DEFAULT, ids=lambda suite: suite.name)
def test_each_guardrail_has_items_on_both_sides_and_a_free_licence(suite: object) -> None:
    from trainer.evals.suite import Suite

    assert isinstance(suite, Suite)
    assert len(suite.part(Split.SELECT)) >= 15
    assert len(suite.part(Split.GATE)) >= 30
    assert suite.licence in {"Apache-2.0", "MIT", "CC-BY-SA-4.0"}


def test_no_question_stands_in_two_guardrails() -> None:
    texts = [text for suite in DEFAULT for _, text in texts_for_leaks(suite)]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("name", ["package-section", "package-facts"])
def test_target_suites_are_whole_and_apart_from_training(name: str) -> None:
    suite = read_suite(RECIPES / name / "suite")
    assert (suite.kind, len(suite.items)) == (SuiteKind.TARGET, 240)
    trained = {
        row["messages"][0]["content"]
        for row in map(json.loads, (RECIPES / name / "train.jsonl").read_text().splitlines())
    }
    assert not trained & {text for _, text in texts_for_leaks(suite)}
    assert all(m.margin == 0 for m in suite.measures if m.primary)


def test_training_prompts_are_not_guardrail_items() -> None:
    asked = {text for suite in DEFAULT for _, text in texts_for_leaks(suite)}
    for path in RECIPES.rglob("*.jsonl"):
        if path.parent.name == "suite":
            continue
        for line in path.read_text().splitlines():
            row = json.loads(line)
            users = [m["content"] for m in row.get("messages", ()) if m["role"] == "user"]
            assert not asked & set(users), path
