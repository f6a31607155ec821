"""The gate's values: paired scores in, verdicts with their evidence out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from trainer.evals.values import Measure


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"  # too few items to say; not a pass


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Scores of the same items under base and adapter; all three of equal length and order."""

    measure: Measure
    ids: tuple[str, ...]
    base: tuple[float, ...]
    adapter: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GateRule:
    """How sure the gate must be.

    `alpha` bounds the chance that a harmful adapter passes any one side: the target test runs at
    `alpha`, the guardrails share `alpha` (Bonferroni).
    """

    alpha: float = 0.05
    min_gain: float = 0.0  # the target's difference must be above this, in its unit
    resamples: int = 10_000
    seed: int = 0
    margins: Mapping[str, float] = field(default_factory=dict)  # by measure name, over the suite's


@dataclass(frozen=True, slots=True)
class MeasureVerdict:
    """One measure's comparison. `low` and `high` bound adapter minus base at `confidence`
    (one-sided each)."""

    measure: Measure
    verdict: Verdict
    items: int
    base: float
    adapter: float
    difference: float
    low: float
    high: float
    confidence: float
    method: str  # "mcnemar-exact + tango", "bca-bootstrap"
    p_value: float
    items_needed: int | None  # about how many items would decide; None where decided
    reason: str  # one sentence


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The whole verdict: pass only where the target and every guardrail pass."""

    verdict: Verdict
    reason: str
    target: tuple[MeasureVerdict, ...]
    guardrails: tuple[MeasureVerdict, ...]
    rule: GateRule
