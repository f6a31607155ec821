"""What an evaluation is made of, as values: items in, per-item results out.

A suite is asked of one model at a time; two evaluations of the same suite are compared item by
item elsewhere (`trainer.gate`). Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class SuiteKind(StrEnum):
    TARGET = "target"  # what the tune should improve
    GUARDRAIL = "guardrail"  # what it must leave as it was


class Split(StrEnum):
    """Candidates are chosen on one part of each suite and judged on the other.

    Choosing the best of many on the items that then judge it would flatter the choice; an item's
    part follows from a hash of its id alone.
    """

    SELECT = "select"  # about a third: checkpoints and strengths are compared here
    GATE = "gate"  # the rest: seen once, by the chosen adapter
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Item:
    """One question. Which fields are set depends on the suite's checks."""

    id: str
    messages: tuple[Mapping[str, str], ...] = ()  # a conversation to answer
    prompt: str = ""  # or plain text that is continued or scored
    expected: Any = None  # the reference answer: text, label or object
    choices: tuple[str, ...] = ()  # continuations to score
    gold: int | None = None  # index of the right choice
    text: str = ""  # text whose perplexity is read
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What one model made of one item. `scores` maps a check's name to this item's score."""

    id: str
    scores: Mapping[str, float]
    answer: str = ""
    finish: str = ""  # the engine's finish reason, "" where nothing was generated
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a suite gives for each item, its direction (higher is better, always) and
    how much worse it may become."""

    suite: str
    check: str
    kind: SuiteKind
    family: str  # what it stands for in reports: "facts", "refusal", ...
    binary: bool  # scores are 0 or 1: exact McNemar and Tango's interval apply
    unit: str  # "share", "nats/token", ...
    margin: float  # a guardrail's non-inferiority margin, in the unit; 0 for targets
    primary: bool = True  # others are reported, not judged

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.check}"


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """One suite's results for one model. `figures` are of the whole suite (recalls, shares)."""

    suite: str
    digest: str  # sha256 hex of the suite's files
    measures: tuple[Measure, ...]
    items: tuple[ItemResult, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)

    def mean(self, check: str) -> float:
        """The mean score of `check` over the items that have it; NaN where none has."""
        scores = [item.scores[check] for item in self.items if check in item.scores]
        return sum(scores) / len(scores) if scores else float("nan")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was asked of one model in one go."""

    model: str  # "base", or the candidate's name
    split: Split
    suites: tuple[SuiteResult, ...]
    base_fingerprint: str
    adapter_digest: str | None  # None: the base
    seconds: float

    def suite(self, name: str) -> SuiteResult:
        """The suite of that name. Raises KeyError."""
        for suite in self.suites:
            if suite.suite == name:
                return suite
        raise KeyError(name)
