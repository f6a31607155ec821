"""What the gateway reads of an adapter's eval report. All else in it is for people.

`answers` holds what the adapter answered in its target eval, on the items that judged it, by suite:
`{"ticket-triage": [{"text": "network", "finish": "stop"}, ...]}`. The trainer registers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class EvalAnswer:
    """One answer of an eval. `finish` is the engine's reason ("stop", "length")."""

    text: str
    finish: str


def eval_answers(report: Mapping[str, Any]) -> tuple[EvalAnswer, ...]:
    """The answers of every target suite; none where the report holds none in this form."""
    suites = report.get(ANSWERS)
    if not isinstance(suites, Mapping):
        return ()
    try:
        return tuple(
            EvalAnswer(str(each["text"]), str(each["finish"]))
            for answers in suites.values()
            for each in answers
        )
    except (KeyError, TypeError):
        return ()
