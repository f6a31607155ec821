"""What a report says, as values: gathered once, then drawn and written without reading more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.candidates import Candidate
from trainer.choice import Choice
from trainer.evals.values import SuiteKind
from trainer.gate.values import GateVerdict


@dataclass(frozen=True, slots=True)
class ItemChange:
    """One item that the adapter scores otherwise than the base. `weight` is the difference in
    margins (in score where there is no margin): what is read first."""

    measure: str
    kind: SuiteKind
    id: str
    question: str  # "" where the suite has changed since, or is gone
    expected: str
    base_answer: str
    adapter_answer: str
    base_score: float
    adapter_score: float
    weight: float

    @property
    def worse(self) -> bool:
        return self.adapter_score < self.base_score


@dataclass(frozen=True, slots=True)
class MeasureChanges:
    """One measure's changed items: how many, and the first of them, worst first."""

    measure: str
    kind: SuiteKind
    worse: int
    better: int
    items: int
    shown: tuple[ItemChange, ...]


@dataclass(frozen=True, slots=True)
class LabelShare:
    """One label's share among the truth, the base's answers and the adapter's."""

    label: str
    truth: float
    base: float
    adapter: float


@dataclass(frozen=True, slots=True)
class LabelDistribution:
    suite: str
    labels: tuple[LabelShare, ...]


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run. `steps`, `manifest` and `checks` are as the trainer wrote them; empty where the
    run has none."""

    name: str
    workflow: str
    description: str
    base: str  # fingerprint
    choice: Choice
    gate: GateVerdict
    candidates: tuple[Candidate, ...]
    changes: tuple[MeasureChanges, ...]
    labels: tuple[LabelDistribution, ...]
    steps: tuple[Mapping[str, Any], ...]
    manifest: Mapping[str, Any]
    checks: Mapping[str, Any]
    recipe: str  # YAML as resolved
