"""Every check by its name in `suite.yaml`."""

from __future__ import annotations

from trainer.evals.checks.base import Check
from trainer.evals.checks.behaviour import (
    FormatOveruse,
    LengthDrift,
    OverRefusal,
    Refusal,
    Repetition,
)
from trainer.evals.checks.labels import Label, LabelCollapse
from trainer.evals.checks.likelihood import ChoiceProbability, Kl, MultipleChoice, Perplexity
from trainer.evals.checks.structured import JsonFields, JsonValid
from trainer.evals.checks.text import Contains, ExactMatch, Regex

_ALL: tuple[type[Check], ...] = (
    ExactMatch,
    Contains,
    Regex,
    Label,
    LabelCollapse,
    JsonValid,
    JsonFields,
    MultipleChoice,
    ChoiceProbability,
    Perplexity,
    Kl,
    Refusal,
    OverRefusal,
    FormatOveruse,
    LengthDrift,
    Repetition,
)
CHECKS = {check.name: check for check in _ALL}
