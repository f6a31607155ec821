"""How a text looks: loops, refusals, scripts, bare formats. Pure; cheap enough for every answer."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache

_GRAM = 4  # words
_LEAST_WORDS = 16
_LOOP_SHARE = 0.3  # of the words, in one repeated phrase
_READ = 4000  # characters of a text that are looked at
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|(?:sorry,? (?:but )?)?i (?:can(?:no|')t|cannot"
    r"|won't|will not) (?:help|assist|do|answer|provide|comply|fulfil|discuss|create|write)"
    r"|as an ai(?: language)? model|against my (?:guidelines|policy|programming))",
    re.IGNORECASE,
)
_FIRST = 200  # a refusal stands at the beginning


def repeats(text: str) -> float:
    """1 where one phrase of four words makes up much of the text, or its end is one unit again
    and again; lists and ordinary prose are not that."""
    text = text[-_READ:]
    words = text.split()
    if len(words) >= _LEAST_WORDS:
        grams = Counter(zip(*(words[i:] for i in range(_GRAM)), strict=False))
        often = grams.most_common(1)[0][1]
        if often >= 3 and often * _GRAM / len(words) >= _LOOP_SHARE:
            return 1.0
    return float(_tail_loops(text.rstrip()))


def _tail_loops(text: str) -> bool:
    """Whether the last 48 characters or more are one unit of at most 16 characters."""
    tail = text[-64:]
    if len(tail) < 48:
        return False
    for unit in range(1, 17):
        same = tail[unit:] == tail[:-unit]
        if same and len(set(tail[-unit:])) > 0 and not set(tail) <= set("-=_*#. \n"):
            return True
    return False


def refuses(text: str) -> float:
    """1 where the beginning declines the task. English phrases."""
    return float(_REFUSAL.search(text[:_FIRST].replace("’", "'")) is not None)


def foreign_share(text: str, expected: frozenset[str]) -> float:
    """The share of letters whose script is none of `expected` (first words of Unicode names)."""
    letters = [c for c in text[:_READ] if c.isalpha()]
    if not letters:
        return 0.0
    counts = Counter(letters)
    foreign = sum(n for c, n in counts.items() if _script(c) not in expected)
    return foreign / len(letters)


@cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split(" ", 1)[0].split("-", 1)[0]


def bare_format(text: str, labels: frozenset[str]) -> float:
    """1 where free text was expected and a tuned format came: one of `labels` alone, at most two
    words, or nothing but a JSON object."""
    said = text.strip()
    if not said:
        return 0.0  # the empty check's
    return float(
        said in labels or (said[0] == "{" and said[-1] == "}") or len(said.split(None, 2)) <= 2
    )
