"""A recipe is read strictly, and what is wrong with it is named before anything heavy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainer.worked import make_recipe, settings, write_jsonl, write_recipe
from trainer.errors import RecipeError
from trainer.recipe_file import check_files, read_recipe, write_resolved

Change = Callable[[dict[str, Any]], None]


def _set(path: str, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        at: Any = content
        for name in parents:
            at = at[name]
        at[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        (_set("lerning_rate", 1), "lerning_rate", "is no setting here"),
        (_set("budget.batchsize", 1), "budget.batchsize", "did you mean batch_size"),
        (_set("data.target.0.licens", "x"), "data.target.0.licens", "did you mean licence"),
        (
            _set("data.anchors.parts.1.knd", "x"),
            "data.anchors.parts.1.knd",
            "did you mean kind",
        ),
        (_set("data.anchors.share", 1.5), "data.anchors.share", "less than 1"),
        (_set("data.target", []), "data.target", "at least 1"),
        (_set("budget", {}), "budget.steps", "is missing"),
        (_set("suites.guardrails", []), "suites.guardrails", "needs a guardrail suite"),
        (_set("schedule", {"kind": "zigzag"}), "schedule.kind", "cosine"),
        (_set("name", "Bad Name"), "name", "pattern"),
    ],
)
def test_a_fault_names_its_field_and_line(
    tmp_path: Path, change: Change, field: str, said: str
) -> None:
    path = write_recipe(tmp_path)
    content = settings()
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert caught.value.field == field
    assert said in str(caught.value)
    assert f"{path}:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "not a mapping"),
        ("name: [\n", "not YAML"),
        ("name: a\nseed: 1\nseed: 2\n", "stands twice"),
    ],
)
def test_what_is_no_recipe_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said):
        read_recipe(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")


def test_the_resolved_recipe_gives_the_same_recipe_back(tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path / "here",
        model="./base",
        suites={"target": "suite", "guardrails": ["default", "more/guards"]},
        optimiser={"learning_rate": 1e-5},
    )
    recipe = read_recipe(path)
    assert recipe.data.target[0].path == tmp_path / "here" / "train.jsonl"
    assert recipe.model == str(tmp_path / "here" / "base")
    written = tmp_path / "run" / "recipe.yaml"
    write_resolved(recipe, written)
    assert read_recipe(written) == recipe
    text = written.read_text()
    assert "max_grad_norm: 1.0" in text  # a default, spelt out
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda f: (f / "train.jsonl").unlink(), "data.target.0.path"),
        (lambda f: write_jsonl(f / "train.jsonl", []), "data.target.0.path"),
        (lambda f: (f / "chat.jsonl").write_text(" \n\n"), "data.anchors.parts.1.path"),
        (lambda f: (f / "suite" / "suite.yaml").unlink(), "suites.target"),
    ],
)
def test_a_missing_or_empty_file_is_named_by_its_field(
    tmp_path: Path, spoil: Callable[[Path], Any], field: str
) -> None:
    recipe = make_recipe(tmp_path)
    check_files(recipe)
    spoil(tmp_path)
    with pytest.raises(RecipeError) as caught:
        check_files(recipe)
    assert caught.value.field == field


def test_a_share_without_anchors_is_refused(tmp_path: Path) -> None:
    data = settings()["data"] | {"anchors": {"share": 0.3}}
    with pytest.raises(RecipeError, match=r"data\.anchors\.parts"):
        check_files(make_recipe(tmp_path, data=data))


def test_a_guardrail_folder_without_a_suite_is_named(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, suites={"target": "suite", "guardrails": ["default", "none"]})
    with pytest.raises(RecipeError, match=r"suites\.guardrails\.1"):
        check_files(recipe)
