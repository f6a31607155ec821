"""Evaluations as JSON files: written whole, read back equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.errors import EvaluationError
from trainer.evals.values import Evaluation, ItemResult, Measure, Split, SuiteKind, SuiteResult
from trainer.whole_files import write_text

_FORMAT = 1


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write `path` whole, in its folder made where there is none."""
    write_json(path, {"format": _FORMAT, **asdict(evaluation)})


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write `path` whole: a kill leaves the old file or the new one, never a part."""
    write_text(path, json.dumps(document, ensure_ascii=False, indent=1))


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in `path`. Raises EvaluationError, FileNotFoundError."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] != _FORMAT:
            raise EvaluationError(
                f"{path} has format {stored['format']}, this version reads {_FORMAT}; "
                "remove it, and it is made again"
            )
        return Evaluation(
            model=stored["model"],
            split=Split(stored["split"]),
            suites=tuple(_suite(each) for each in stored["suites"]),
            base_fingerprint=stored["base_fingerprint"],
            adapter_digest=stored["adapter_digest"],
            seconds=stored["seconds"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{path} is not an evaluation ({error!r}); remove it, and it is made again"
        ) from None


def _suite(stored: dict[str, Any]) -> SuiteResult:
    return SuiteResult(
        suite=stored["suite"],
        digest=stored["digest"],
        measures=tuple(
            Measure(**{**each, "kind": SuiteKind(each["kind"])}) for each in stored["measures"]
        ),
        items=tuple(ItemResult(**each) for each in stored["items"]),
        figures=stored["figures"],
    )
