"""Only the answer is learnt, and what cannot be used is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import make_tokenizer
from trainer.data.rows import IGNORED, Row, collate, read_rows, tokenize, tokenize_all
from trainer.errors import DataError, RecipeError
from trainer.recipe import read_recipe

ROW = Row(({"role": "user", "content": "the quick fox"},), "lazy dog")


def test_the_loss_is_on_the_answer_and_its_end_alone() -> None:
    tokenizer = make_tokenizer()
    row = tokenize(ROW, tokenizer)
    batch = collate([row, tokenize(Row(ROW.prompt, "a"), tokenizer)], tokenizer.pad_token_id)
    learnt = [t for t in batch.labels[0].tolist() if t != IGNORED]
    assert tokenizer.decode(learnt) == "lazy dog<|im_end|>"
    assert batch.labels[1][batch.mask[1] == 0].eq(IGNORED).all()


def test_a_cut_answer_does_not_teach_to_stop() -> None:
    tokenizer = make_tokenizer()
    row = tokenize(Row(ROW.prompt, "lazy", ended=False), tokenizer)
    assert row.tokens[-1] != tokenizer.eos_token_id


def test_long_rows_are_counted_not_cut() -> None:
    fitting, too_long = tokenize_all([ROW, Row(ROW.prompt, "dog " * 90)], make_tokenizer(), 60)
    assert (len(fitting), too_long) == (1, 1)


@pytest.mark.parametrize("line", ["{", "[]", '{"messages": [{"role": "user", "content": "x"}]}'])
def test_bad_rows_are_named_by_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:1"):
        read_rows(path)


def test_an_unknown_recipe_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: a\nworkflow: a\ntask: label\nsteps: 3\nlearning_rat: 1\n")
    with pytest.raises(RecipeError):
        read_recipe(path)
