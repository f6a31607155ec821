"""Evaluations made of plain lists, for tests of what compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.evals.values import (
    Evaluation,
    ItemResult,
    Measure,
    Split,
    SuiteKind,
    SuiteResult,
)
from trainer.gate.values import PairedScores

TARGET = Measure("triage", "label", SuiteKind.TARGET, "target", True, "share", 0.0)
FACTS = Measure("facts", "exact", SuiteKind.GUARDRAIL, "facts", True, "share", 0.1)
FLUENCY = Measure("fluency", "nll", SuiteKind.GUARDRAIL, "fluency", False, "nats/token", 0.1)
FINGERPRINT = "f" * 64


@dataclass(frozen=True)
class Asked:
    """One measure with each item's score."""

    measure: Measure
    scores: Sequence[float]


def evaluation(model: str, *asked: Asked, split: Split = Split.GATE) -> Evaluation:
    """One suite a measure; item ids are 0, 1, 2, ..."""
    return Evaluation(
        model=model,
        split=split,
        suites=tuple(
            SuiteResult(
                suite=a.measure.suite,
                digest="d" * 64,
                measures=(a.measure,),
                items=tuple(
                    ItemResult(str(i), {a.measure.check: score}, answer=f"{model} {i}")
                    for i, score in enumerate(a.scores)
                ),
            )
            for a in asked
        ),
        base_fingerprint=FINGERPRINT,
        adapter_digest=None if model == "base" else "a" * 64,
        seconds=1.0,
    )


def pairs_of(
    scores: Mapping[Measure, tuple[Sequence[float], Sequence[float]]],
) -> list[PairedScores]:
    """Pairs of (base, adapter) scores by measure."""
    return [
        PairedScores(measure, tuple(map(str, range(len(base)))), tuple(base), tuple(adapter))
        for measure, (base, adapter) in scores.items()
    ]


def right(share_right: int, items: int) -> list[float]:
    """The first `share_right` of `items` right."""
    return [1.0] * share_right + [0.0] * (items - share_right)
