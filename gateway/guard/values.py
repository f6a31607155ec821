"""What a guard is told to watch, as values. Routes carry them; only the guard reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class CheckKind(StrEnum):
    """What one check scores; 1 is bad."""

    SCHEMA = "schema"  # not JSON, or not of the schema
    LABELS = "labels"  # none of the allowed labels
    COLLAPSE = "collapse"  # the share of any one label
    REGEX = "regex"  # does not match whole
    LENGTH = "length"  # too few or too many characters
    EMPTY = "empty"
    REPETITION = "repetition"
    REFUSAL = "refusal"
    SCRIPT = "script"  # letters of a script that the route does not expect
    CUT = "cut"  # finished by length
    FORMAT = "format"  # free text expected, a bare label or JSON came
    ERRORS = "errors"  # the engine failed
    FIRST_TOKEN = "first_token"  # later than limit_s
    BETWEEN_TOKENS = "between_tokens"  # longer than limit_s in the mean
    CANCELLED = "cancelled"  # the client left before the end
    PROBES = "probes"  # guardrail items that are asked beside the traffic, against the base
    FEEDBACK = "feedback"  # what the product says of an answer: 1 - its score


class OnTrip(StrEnum):
    """What the guard does when a check has tripped."""

    DISABLE = "disable"
    ROLLBACK = "rollback"
    ALERT = "alert"


# What scores these is not the answer itself; they reach the guard as `Scored` (detectors.py).
SCORED_ELSEWHERE = frozenset({CheckKind.FEEDBACK, CheckKind.PROBES})


class Reference(StrEnum):
    """What a check's bad rate is held against."""

    STATED = "stated"  # the number in the route
    REPORT = "report"  # the same check over the adapter's own eval answers, as a number
    SHADOW = "shadow"  # what the route's shadow answers to the same requests
    CONTROL = "control"  # of a canary: what the control arm answers at the same time
    BASE = "base"  # what the base does with the same probes


# What an answer by itself says; the others say how it was served, and the load has a part in it.
OF_TEXT = frozenset(
    {
        CheckKind.SCHEMA,
        CheckKind.LABELS,
        CheckKind.COLLAPSE,
        CheckKind.REGEX,
        CheckKind.LENGTH,
        CheckKind.EMPTY,
        CheckKind.REPETITION,
        CheckKind.REFUSAL,
        CheckKind.SCRIPT,
        CheckKind.CUT,
        CheckKind.FORMAT,
    }
)

# Slowness is mostly the machine's, and clients leave for reasons of their own: taking one adapter
# out would not help, so these alert unless the route says otherwise.
ALERT_ONLY = frozenset({CheckKind.FIRST_TOKEN, CheckKind.BETWEEN_TOKENS, CheckKind.CANCELLED})


@dataclass(frozen=True, slots=True)
class CheckRule:
    """One check. Healthy means: the bad rate is at most `reference + tolerance`.

    A paired one has no number for a reference: its bad rate is at most `tolerance` over that of
    what it is `compared` with.
    """

    kind: CheckKind
    reference: float = 0.0  # the bad rate (for collapse: the commonest label's share) to expect
    reference_items: int | None = None  # how many items that rate was read from; None: exact
    tolerance: float = 0.02
    weight: float = 1.0  # its part of alpha, relative to the other checks
    on_trip: OnTrip | None = None  # None: the guard's
    window: int | None = None  # plain rule instead: the last so many answers
    threshold: float | None = None  # and the mean score over which it trips
    labels: tuple[str, ...] = ()
    pattern: str = ""
    min_chars: int = 0
    max_chars: int | None = None
    scripts: tuple[str, ...] = ()  # as in Unicode names: LATIN, CYRILLIC, CJK
    limit_s: float | None = None
    set: str = "default"  # probes: the set's name, how often, and how many items each time
    every_s: float = 600.0
    items: int = 20
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    compared: Reference = Reference.STATED

    @property
    def is_paired(self) -> bool:
        """Whether it scores pairs of answers, not single ones."""
        return self.compared in (Reference.SHADOW, Reference.CONTROL, Reference.BASE)

    @property
    def compares_arms(self) -> bool:
        """Whether it holds a canary against its control arm."""
        return self.compared is Reference.CONTROL


@dataclass(frozen=True, slots=True)
class GuardRule:
    """A route's guard. `alpha`: the chance that it ever acts on a healthy version of the route."""

    checks: tuple[CheckRule, ...]
    alpha: float = 0.01
    on_trip: OnTrip = OnTrip.DISABLE

    def without(self, compared: Reference) -> GuardRule:
        """The guard of an arm that has nothing of the kind to be compared with."""
        checks = tuple(check for check in self.checks if check.compared is not compared)
        return self if len(checks) == len(self.checks) else replace(self, checks=checks)

    def action(self, check: CheckRule) -> OnTrip:
        """What a trip of `check` leads to."""
        if check.on_trip is not None:
            return check.on_trip
        return OnTrip.ALERT if check.kind in ALERT_ONLY else self.on_trip
