"""Checks of an answer's text against the expected one: equal, contains, matches a pattern."""

from __future__ import annotations

import re
import unicodedata
from typing import ClassVar

from pydantic import field_validator

from trainer.evals.checks.base import ItemCheck, Need, Observation, asks_something
from trainer.evals.values import Item


def normalised(text: str) -> str:
    """Lower case, white space as single spaces, no punctuation at the ends."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(".,;:!?\"'`*()[] ")


def accepted(item: Item) -> list[str]:
    """The expected texts: one, or any of a list."""
    expected = item.expected
    return [expected] if isinstance(expected, str) else list(expected)


def _expects_text(item: Item) -> str | None:
    expected = item.expected
    texts = [expected] if isinstance(expected, str) else expected
    if (
        not isinstance(texts, list)
        or not texts
        or not all(isinstance(text, str) and text for text in texts)
    ):
        return "expected must be a text or a list of texts"
    return None


class ExactMatch(ItemCheck):
    """The whole answer is an expected text."""

    name: ClassVar[str] = "exact_match"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ANSWER})
    binary: ClassVar[bool] = True
    strict: bool = False  # case, punctuation at the ends and white space count too

    def fault(self, item: Item) -> str | None:
        return asks_something(item) or _expects_text(item)

    def score(self, seen: Observation) -> float:
        if self.strict:
            return float(seen.said in accepted(seen.item))
        said = normalised(seen.said)
        return float(any(said == normalised(text) for text in accepted(seen.item)))


class Contains(ItemCheck):
    """An expected text stands in the answer, as whole words."""

    name: ClassVar[str] = "contains"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ANSWER})
    binary: ClassVar[bool] = True
    ignore_case: bool = True

    def fault(self, item: Item) -> str | None:
        return asks_something(item) or _expects_text(item)

    def score(self, seen: Observation) -> float:
        flags = re.IGNORECASE if self.ignore_case else 0
        # Not \b: an expected text may itself begin or end with a sign.
        return float(
            any(
                re.search(rf"(?<!\w){re.escape(text)}(?!\w)", seen.said, flags)
                for text in accepted(seen.item)
            )
        )


class Regex(ItemCheck):
    """The answer matches a pattern: the item's `expected`, or the check's own."""

    name: ClassVar[str] = "regex"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ANSWER})
    binary: ClassVar[bool] = True
    pattern: str | None = None
    whole: bool = False  # the whole answer, not a part of it
    ignore_case: bool = True

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        fault = _pattern_fault(pattern) if pattern is not None else None
        if fault:
            raise ValueError(fault)
        return pattern

    def fault(self, item: Item) -> str | None:
        if self.pattern is None:
            if not isinstance(item.expected, str) or not item.expected:
                return "expected must be a pattern, or the check needs one in params"
            fault = _pattern_fault(item.expected)
            if fault:
                return fault
        return asks_something(item)

    def score(self, seen: Observation) -> float:
        flags = re.MULTILINE | (re.IGNORECASE if self.ignore_case else 0)
        pattern = re.compile(self.pattern or seen.item.expected, flags)
        found = pattern.fullmatch(seen.said) if self.whole else pattern.search(seen.said)
        return float(found is not None)


def _pattern_fault(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is not a pattern: {error}"
    return None
