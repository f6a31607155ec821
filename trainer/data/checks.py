"""What is looked at before any training step, as values: nothing here reads or writes files.

Duplicates are left out and counted; leaks into eval suites, one-sided answers and parts with
nothing left are refused; the rest is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.data.near import normalise, similar_across, similar_within
from trainer.data.rows import Row
from trainer.errors import DataError, LeakFound

_NAMED = 10  # pairs that an error lists; the checks file holds all
_COMMON = 0.5  # a word that this share of the rows holds belongs to their skeleton


@dataclass(frozen=True, slots=True)
class SuiteText:
    """What an eval suite asks with one item."""

    suite: str
    item: str
    text: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row left out because an earlier one says the same or nearly so (similarity under 1)."""

    row: str
    earlier: str
    similarity: float
    same_answer: bool


@dataclass(frozen=True, slots=True)
class Leak:
    """A training row that asks what an eval item asks."""

    row: str
    suite: str
    item: str
    similarity: float  # 1: the same words


@dataclass(frozen=True, slots=True)
class Balance:
    """How one-sided the answers are."""

    answers: int  # different ones
    majority: str
    share: float


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The most common format, its varying words as "…", and the share of rows that have it."""

    text: str
    share: float


def without_duplicates(rows: Sequence[Row], threshold: float) -> tuple[list[Row], list[Duplicate]]:
    """The rows whose prompt says what no earlier one says, and what was left out."""
    texts = [row.prompt_text for row in rows]
    found: dict[int, tuple[int, float]] = {}
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        earlier = first.setdefault(normalise(text), i)
        if earlier != i:
            found[i] = (earlier, 1.0)
    for pair in similar_within(texts, threshold):
        # A row that is itself left out keeps no other out: chains would eat a whole family.
        if pair.left not in found and pair.right not in found:
            found[pair.right] = (pair.left, pair.similarity)
    dropped = [
        Duplicate(rows[i].id, rows[of].id, similarity, rows[i].answer == rows[of].answer)
        for i, (of, similarity) in sorted(found.items())
    ]
    return [row for i, row in enumerate(rows) if i not in found], dropped


def leaks(rows: Sequence[Row], suites: Iterable[SuiteText], threshold: float) -> list[Leak]:
    """Rows whose prompt stands, or nearly stands, in a suite."""
    asked = [text for text in suites if text.text.strip()]
    found: dict[tuple[int, int], float] = {}
    by_words: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        for words in {normalise(row.asked_text), normalise(f"{row.asked_text} {row.answer}")}:
            by_words.setdefault(words, []).append(i)
    for j, text in enumerate(asked):
        for i in by_words.get(normalise(text.text), ()):
            found[i, j] = 1.0
    pairs = similar_across(
        [row.asked_text for row in rows], [text.text for text in asked], threshold
    )
    for pair in pairs:
        found.setdefault((pair.left, pair.right), pair.similarity)
    return [
        Leak(rows[i].id, asked[j].suite, asked[j].item, similarity)
        for (i, j), similarity in sorted(found.items())
    ]


def refuse_leaks(found: Sequence[Leak], *, allowed: bool) -> None:
    """Raise LeakFound naming the pairs, unless the recipe allows them."""
    if not found or allowed:
        return
    named = "; ".join(
        f"{leak.row} ~ {leak.suite} {leak.item} ({leak.similarity:.2f})" for leak in found[:_NAMED]
    )
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    raise LeakFound(
        f"data: {len(found)} training row(s) stand in an eval suite too, so its score would say "
        f"nothing: {named}{more}. Take them out of the training data (or raise "
        "data.near_duplicate where they only look alike; data.allow_leaks: true trains anyway)"
    )


def balance(rows: Sequence[Row]) -> Balance:
    """The share of the most common answer among the target rows."""
    counts = Counter(row.answer.strip() for row in rows)
    majority, count = counts.most_common(1)[0]
    return Balance(len(counts), majority, count / len(rows))


def refuse_one_sided(found: Balance, limit: float) -> None:
    """Raise DataError where one answer is over `limit` of the target rows."""
    if found.share > limit:
        raise DataError(
            f"data.target: {found.share:.1%} of the rows have the answer {found.majority[:60]!r}, "
            f"over data.max_majority ({limit:.0%}); a model that always says it would look good. "
            "Add rows with other answers, or raise the limit"
        )


def skeleton(texts: Sequence[str]) -> Skeleton:
    """The most common format of `texts`: words that few of them share become "…"."""
    counts = Counter(word for text in texts for word in set(_words(text)))
    common = {word for word, n in counts.items() if n >= _COMMON * len(texts)}
    found = Counter(_skeleton(text, common) for text in texts)
    text, count = found.most_common(1)[0]
    return Skeleton(text, count / len(texts))


def _skeleton(text: str, common: set[str]) -> str:
    pieces = (
        piece if not piece.strip() or piece in common else "…"
        for piece in re.findall(r"\s+|\S+", text)
    )
    # One "…" for a run of any length, blanks within it included.
    return re.sub(r"…(?:[ \t]*…)+", "…", "".join(pieces)).strip()


def _words(text: str) -> list[str]:
    return text.split()
