"""What nearly the same means: what varies decides, not the shared skeleton."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.near import _Index, normalise, similar_across, similar_within
from trainer.data.rows import read_rows

RECIPES = Path(__file__).parents[3] / "recipes"


def row(name: str, summary: str) -> str:
    return f"Package: {name}\nSummary: {summary}\nSection?"


FILLER = [row(f"lib{word}", f"{word} for {word}s") for word in "abcdefghijklmnopqrstuvwxyz"]


def test_a_shared_skeleton_does_not_make_rows_alike() -> None:
    assert similar_within(FILLER, 0.5) == []


def test_a_changed_word_or_letter_case_is_seen() -> None:
    text = row("gimp", "image manipulation program with layers, brushes and many plug-ins")
    changed = row("GIMP", "image manipulation program with layers, brushes and plug-ins!")
    pairs = similar_within([*FILLER, text, changed], 0.7)
    assert [(pair.left, pair.right) for pair in pairs] == [(26, 27)]
    assert normalise(text) != normalise(changed)


WORDS = st.lists(st.sampled_from(["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"]), max_size=7).map(
    " ".join
)


@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=12), st.floats(0.1, 1))
def test_no_pair_is_missed(left: list[str], right: list[str], threshold: float) -> None:
    index = _Index(left, right, threshold)
    expected = set()
    for i, a in enumerate(index._left):
        for j, b in enumerate(index._right):
            union = index._weigh(a | b)
            if union and index._weigh(a & b) / union >= threshold + 1e-9:
                expected.add((i, j))
    found = {(pair.left, pair.right) for pair in similar_across(left, right, threshold)}
    assert expected <= found


@pytest.mark.parametrize("name", ["package-section", "package-facts"])
def test_the_shipped_recipes_rows_are_told_apart(name: str) -> None:
    train = [r.prompt_text for r in read_rows(RECIPES / name / "train.jsonl")]
    assert len(similar_within(train, 0.75)) < 5
    # A row with one word more is found among them all.
    changed = [f"{text} please" for text in train[:20]]
    assert {(i, i) for i in range(20)} <= {
        (pair.left, pair.right) for pair in similar_across(train, changed, 0.7)
    }
