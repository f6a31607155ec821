"""The shipped recipes pass their own checks, and their anchors are of all kinds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.tiny import make_tokenizer
from trainer.data.checks import without_duplicates
from trainer.data.prepare import check
from trainer.data.rows import read_rows
from trainer.recipe_file import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = ("package-section/recipe", "package-section/aggressive", "package-facts/recipe")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_passes_the_checks(name: str, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").touch()
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    # The tiny tokenizer needs many more tokens for a text.
    recipe = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"max_tokens": 4000}),
            "suites": recipe.suites.model_copy(update={"target": tmp_path}),
        }
    )
    parts, found = check(recipe, make_tokenizer(), (), "tiny")
    assert sum(part.duplicates for part in parts if part.kind != "target") == 0
    assert len(parts[0].rows) >= 1390
    assert found.leaks == ()


@pytest.mark.parametrize("name", ["package-section", "package-facts"])
def test_anchors_are_of_all_four_kinds(name: str) -> None:
    recipe = read_recipe(RECIPES / name / "recipe.yaml")
    counts: Counter[tuple[str, str]] = Counter()
    for part in recipe.data.anchors.parts:
        rows = read_rows(part.path, answered=part.answers == "given")
        counts[part.kind, part.answers] += len(rows)
    assert counts["chat", "base"] >= 150
    assert 20 <= counts["refusal", "given"] < counts["refusal", "base"]  # see docs/recipes.md
    assert counts["refusal", "base"] >= 60
    assert counts["near", "base"] >= 60
    assert counts["counter", "base"] >= 60


def test_refusals_are_said_in_varied_words() -> None:
    rows = read_rows(RECIPES / "anchors" / "refusals.jsonl")
    assert len({row.answer for row in rows}) == len(rows)
    kept, _ = without_duplicates(rows, 0.6)
    assert len(kept) == len(rows)
