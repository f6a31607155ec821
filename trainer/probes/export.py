"""A suite's checks as the plain rules that the gateway's guard can score.

Not every check has one: those that compare with the base's own answer (length, KL) or read a text's
likelihood (perplexity) stay with the trainer. What is exported holds no score of the base: the
gateway asks the base beside the target, so that a set fits any base model, and no item is chosen by
what the base made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from gateway.probes.reading import Line
from trainer.errors import SuiteError
from trainer.evals.checks.base import Check
from trainer.evals.checks.behaviour import FormatOveruse, OverRefusal, Repetition
from trainer.evals.checks.likelihood import ChoiceProbability, MultipleChoice
from trainer.evals.checks.structured import JsonValid
from trainer.evals.checks.text import Contains, Regex, accepted
from trainer.evals.suite import GUARDRAILS, Suite, read_suites
from trainer.evals.values import Item

_OWN_LICENCE = "Apache-2.0"  # what is shipped with the package carries no other terms
Rule = Callable[[Item], dict[str, Any]]


def probe_lines(suites: Sequence[Suite]) -> list[Line]:
    """Every item of every suite, once for each check that has a rule. Raises SuiteError where a
    suite has none."""
    lines: list[Line] = []
    for suite in suites:
        rules = {
            check.name: rule
            for check, measure in zip(suite.checks, suite.measures, strict=True)
            if measure.primary and (rule := rule_of(check)) is not None
        }
        if not rules:
            names = ", ".join(check.name for check in suite.checks)
            raise SuiteError(
                f"suite {suite.name} ({suite.path}) has no primary check that the gateway can "
                f"score, only {names}; leave it out"
            )
        for name, rule in rules.items():
            part = suite.name if len(rules) == 1 else f"{suite.name}-{name.replace('_', '-')}"
            lines += (_line(part, suite, item, rule(item)) for item in suite.items)
    return lines


def scorable(suites: Sequence[Suite]) -> tuple[Suite, ...]:
    """Those of `suites` that have a primary check with a rule."""
    return tuple(
        suite
        for suite in suites
        if any(
            measure.primary and rule_of(check) is not None
            for check, measure in zip(suite.checks, suite.measures, strict=True)
        )
    )


def shipped() -> tuple[Suite, ...]:
    """The suites of the gateway's `default` set: the shipped guardrails written for this
    project."""
    return tuple(
        suite for suite in scorable(read_suites([GUARDRAILS])) if suite.licence == _OWN_LICENCE
    )


def rule_of(check: Check) -> Rule | None:
    """How the gateway scores an item of `check`; None where it cannot."""
    match check:
        case ChoiceProbability() | MultipleChoice():
            return lambda item: {"choices": item.choices, "right": item.gold}
        case Regex():
            return lambda item: _regex(
                check.pattern or item.expected, check.whole, check.ignore_case
            )
        case Contains():
            return lambda item: _regex(_any_of(accepted(item)), False, check.ignore_case)
        case FormatOveruse():
            return lambda _: {"check": "format", "labels": check.labels}
        case OverRefusal():
            return lambda _: {"check": "refusal"}
        case Repetition():
            return lambda _: {"check": "repetition"}
        case JsonValid():
            return lambda _: {"check": "schema", "schema": check.schema_}
        case _:
            return None


def _regex(pattern: str, whole: bool, ignore_case: bool) -> dict[str, Any]:
    """The pattern for the guard's check, which matches whole answers and lets a dot be a line
    end; the suite's lets it not, and searches."""
    flags = "(?im)" if ignore_case else "(?m)"
    kept = f"(?-s:{pattern})"
    return {"check": "regex", "pattern": f"{flags}{kept}" if whole else f"{flags}.*{kept}.*"}


def _any_of(texts: Sequence[str]) -> str:
    return rf"(?<!\w)(?:{'|'.join(re.escape(text) for text in texts)})(?!\w)"


def _line(part: str, suite: Suite, item: Item, judged: dict[str, Any]) -> Line:
    generated = {} if "choices" in judged else {"max_tokens": suite.generation.max_tokens}
    asked = {"messages": item.messages} if item.messages else {"prompt": item.prompt}
    try:
        return Line.model_validate({"suite": part, "id": item.id, **asked, **generated, **judged})
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise SuiteError(f"suite {suite.name}, item {item.id}: {message}") from None
