"""Which short texts say nearly the same: Jaccard similarity weighted by rarity.

A narrow task's rows share their skeleton ("Package: ... Summary: ... Section?"), so plain overlap
would call them all alike. Here words and word pairs weigh log(N / texts that hold them): what
stands everywhere weighs nothing, and the words that vary decide. The join is exact: two texts of
similarity t share one of the shingles that come first when sorted by rarity, until the rest weighs
less than t of the whole (prefix filtering; Bayardo, Ma and Srikant, "Scaling up all pairs
similarity search", 2007, carried over to weights).
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two texts by index and their similarity in (0, 1]."""

    left: int
    right: int
    similarity: float


def normalise(text: str) -> str:
    """Words alone, in lower case: what makes two texts the same."""
    return " ".join(_words(text))


def similar_within(texts: Sequence[str], threshold: float) -> list[NearPair]:
    """Pairs (left < right) of at least `threshold`."""
    index = _Index(texts, texts, threshold)
    return [
        pair for right in range(len(texts)) for pair in index.matches(right) if pair.left < right
    ]


def similar_across(left: Sequence[str], right: Sequence[str], threshold: float) -> list[NearPair]:
    """Pairs of a `left` and a `right` text of at least `threshold`."""
    index = _Index(left, right, threshold)
    return [pair for i in range(len(right)) for pair in index.matches(i)]


class _Index:
    """The `left` texts by their prefixes' shingles; asked with one of `right` at a time."""

    def __init__(self, left: Sequence[str], right: Sequence[str], threshold: float) -> None:
        same = left is right
        left_shingles = [_shingles(text) for text in left]
        right_shingles = left_shingles if same else [_shingles(text) for text in right]
        everything = left_shingles if same else [*left_shingles, *right_shingles]
        counts = Counter(shingle for shingles in everything for shingle in shingles)
        # +1: the same text twice among two must still weigh something.
        self._weights = {s: math.log((len(everything) + 1) / n) for s, n in counts.items()}
        self._threshold = threshold
        self._left = left_shingles
        self._right = right_shingles
        self._totals = [self._weigh(shingles) for shingles in left_shingles]
        self._by_shingle: dict[str, list[int]] = defaultdict(list)
        for i, shingles in enumerate(left_shingles):
            for shingle in self._prefix(shingles, self._totals[i]):
                self._by_shingle[shingle].append(i)

    def matches(self, right: int) -> Iterator[NearPair]:
        shingles = self._right[right]
        total = self._weigh(shingles)
        candidates = {i for s in self._prefix(shingles, total) for i in self._by_shingle.get(s, ())}
        for left in sorted(candidates):
            smaller, larger = sorted((total, self._totals[left]))
            if smaller < self._threshold * larger:
                continue
            shared = self._weigh(shingles & self._left[left])
            similarity = shared / (total + self._totals[left] - shared)
            if similarity >= self._threshold:
                yield NearPair(left, right, round(similarity, 3))

    def _weigh(self, shingles: frozenset[str]) -> float:
        # Sorted: a set's order differs between processes, and so would the last bits of the sum.
        return sum(self._weights[s] for s in sorted(shingles))

    def _prefix(self, shingles: frozenset[str], total: float) -> Iterator[str]:
        rest = total
        for shingle in sorted(shingles, key=lambda s: (-self._weights[s], s)):
            if rest < self._threshold * total - 1e-9:
                return
            yield shingle
            rest -= self._weights[shingle]


def _shingles(text: str) -> frozenset[str]:
    """Words and pairs of neighbouring words."""
    words = _words(text)
    return frozenset(words) | {f"{a} {b}" for a, b in itertools.pairwise(words)}


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
