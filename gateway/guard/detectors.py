"""One answer to one score in [0, 1] for each check of its route; 1 is bad, None does not apply.

Pure and without state: built once for a route, called off the request path.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from jsonschema.protocols import Validator

from gateway.guard import text as looks
from gateway.guard.patterns import LIMIT_S, bounded_validator, compiled, matches_whole
from gateway.guard.values import CheckKind, CheckRule

log = logging.getLogger("gateway.guard")


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer as the guard sees it; its text is dropped once it is scored."""

    text: str
    outcome: str  # "ok", "cancelled", or an error's code
    finish: str | None = None  # "stop", "length"
    first_token_s: float | None = None
    between_tokens_s: float | None = None  # mean over the answer


@dataclass(frozen=True, slots=True)
class Scored:
    """A score of a check that does not read the answer: somebody else made it."""

    kind: CheckKind  # of values.SCORED_ELSEWHERE
    score: float  # in [0, 1], 1 is bad


@dataclass(frozen=True, slots=True)
class Pair:
    """One request, answered by the route's target and by what it is compared with."""

    answered: Answered
    compared: Answered


Seen = Answered | Scored | Pair
Detector = Callable[[Answered], float | None]

# Outcomes that say something of what answered; others (a full queue) say it of the load.
FAULTS = frozenset({"engine_error", "adapter_rejected", "request_timeout"})


def detector(check: CheckRule, schema: Mapping[str, Any] | None) -> Detector:
    """The detector of `check`; `schema` is the route's, for a schema check without its own."""
    match check.kind:
        case CheckKind.SCHEMA:
            stated = check.schema if check.schema is not None else schema
            valid = None if stated is None else bounded_validator(stated)
            return _on_text(_in_time(check, lambda text: _invalid(text, valid)))
        case CheckKind.LABELS:
            labels = frozenset(check.labels)
            return _on_text(lambda text: text.strip() not in labels)
        case CheckKind.REGEX:
            pattern = compiled(check.pattern)
            return _on_text(_in_time(check, lambda text: not matches_whole(pattern, text.strip())))
        case CheckKind.LENGTH:
            return _on_text(lambda text: _length(text, check.min_chars, check.max_chars))
        case CheckKind.EMPTY:
            return _on_text(lambda text: not text.strip())
        case CheckKind.REPETITION:
            return _on_text(looks.repeats)
        case CheckKind.REFUSAL:
            return _on_text(looks.refuses)
        case CheckKind.SCRIPT:
            return _on_text(partial(looks.foreign_share, expected=frozenset(check.scripts)))
        case CheckKind.FORMAT:
            return _on_text(partial(looks.bare_format, labels=frozenset(check.labels)))
        case CheckKind.CUT:
            return lambda seen: float(seen.finish == "length") if seen.outcome == "ok" else None
        case CheckKind.ERRORS:
            return lambda seen: float(seen.outcome in FAULTS)
        case CheckKind.CANCELLED:
            return lambda seen: float(seen.outcome == "cancelled")
        case CheckKind.FIRST_TOKEN:
            return lambda seen: _over(seen.first_token_s, check.limit_s)
        case CheckKind.BETWEEN_TOKENS:
            return lambda seen: _over(seen.between_tokens_s, check.limit_s)
        case CheckKind.FEEDBACK | CheckKind.PROBES:
            return lambda _: None
        case CheckKind.COLLAPSE:
            raise ValueError("collapse is watched label by label: see label_detector")


def label_detector(label: str, labels: tuple[str, ...]) -> Detector:
    """Whether an answer is `label`; answers that are no label at all do not count."""
    known = frozenset(labels)

    def score(seen: Answered) -> float | None:
        said = seen.text.strip()
        return float(said == label) if seen.outcome == "ok" and said in known else None

    return score


def _on_text(score: Callable[[str], float | None]) -> Detector:
    """Whole answers alone say what a model writes."""

    def scored(seen: Answered) -> float | None:
        found = score(seen.text) if seen.outcome == "ok" else None
        return None if found is None else float(found)

    return scored


def _in_time(check: CheckRule, score: Callable[[str], float]) -> Callable[[str], float | None]:
    """None where a pattern takes too long: what cannot be decided is neither good nor bad."""

    def scored(text: str) -> float | None:
        try:
            return score(text)
        except TimeoutError:
            log.warning(
                "a pattern of the check %s took over %g s on an answer of %d characters, which it "
                "does not count; write it without nested repeats",
                check.kind,
                LIMIT_S,
                len(text),
            )
            return None

    return scored


def _invalid(text: str, valid: Validator | None) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return True
    return valid is not None and not valid.is_valid(value)


def _length(text: str, least: int, most: int | None) -> bool:
    return len(text) < least or (most is not None and len(text) > most)


def _over(seconds: float | None, limit_s: float | None) -> float | None:
    return None if seconds is None or limit_s is None else float(seconds > limit_s)
