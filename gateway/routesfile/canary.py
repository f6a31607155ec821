"""The `canary:` of a workflow to its value, every fault with its place. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import yaml

from gateway.errors import BadInput
from gateway.guard.values import SCORED_ELSEWHERE, GuardRule, OnTrip, Reference
from gateway.routesfile.canary_keys import CANARY, HOLD_S, LEAST_SHARE, MOST_STEPS, UNITS
from gateway.routesfile.fields import FieldReader, Nodes
from gateway.routing.assignment import CanaryPlan
from gateway.routing.table import AdapterRef

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_HOLD = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SECRET = ("authorization", "cookie", "proxy-authorization")
_DEFAULT = CanaryPlan(())
Fault = Callable[[yaml.Node, str, str], None]


@dataclass(frozen=True, slots=True)
class CanaryEntry:
    """A canary as written: its adapter is parsed, not looked up."""

    adapter: AdapterRef
    plan: CanaryPlan


def read_canary(
    reader: FieldReader, node: yaml.Node, path: str, guard: GuardRule | None
) -> CanaryEntry | None:
    """The canary, or None where it has faults (all are noted)."""
    found: list[str] = []

    def fault(at: yaml.Node, field: str, message: str) -> None:
        found.append(message)
        reader.fault(at, field, message)

    noting = replace(reader, fault=fault)
    fields, values = noting.fields(node, path, CANARY)
    adapter: AdapterRef | None = None
    if "adapter" in values:
        try:
            adapter = AdapterRef.parse(values["adapter"])
        except BadInput as error:
            fault(fields["adapter"][1], f"{path}.adapter", error.message)
    steps = _steps(node, path, fields, values, fault)
    hold_s = None
    if "hold" in values:
        at = fields["hold"][1]
        hold_s = _hold(values["hold"])
        message = _unholdable(values["hold"], hold_s, "steps" in fields, guard)
        if message is not None:
            fault(at, f"{path}.hold", message)
    key = values.get("key", _DEFAULT.key).lower()
    if not _HEADER.fullmatch(key):
        message = "must be user or a header's name: letters, digits, '-' and '_', at most 64"
        fault(fields["key"][1], f"{path}.key", message)
    elif key in _SECRET:
        message = f"must not be {key}: a secret is no name; use user or another header"
        fault(fields["key"][1], f"{path}.key", message)
    if found or adapter is None:
        return None
    answers = values.get("min_answers", _DEFAULT.min_answers)
    return CanaryEntry(adapter, CanaryPlan(steps, hold_s, key, answers))


def _steps(
    node: yaml.Node, path: str, fields: Nodes, values: dict[str, Any], fault: Fault
) -> tuple[float, ...]:
    """The shares one after the other, from `share` on."""
    share = None
    if "share" in values:
        share = _percent(values["share"])
        if share is None:
            fault(fields["share"][1], f"{path}.share", f"is {values['share']!r}; {_SHARES}")
    steps: list[float] = []
    if "steps" in values:
        stated, at = values["steps"], fields["steps"][1]
        read = [_percent(step) for step in stated]
        steps = [step for step in read if step is not None]
        if len(steps) < len(read):
            fault(at, f"{path}.steps", f"holds {stated[read.index(None)]!r}; {_SHARES}")
        elif not 1 <= len(steps) <= MOST_STEPS:
            fault(at, f"{path}.steps", f"must be 1 to {MOST_STEPS} shares")
        elif any(b <= a for a, b in pairwise(steps)):
            fault(at, f"{path}.steps", "must grow from each to the next")
    if "share" not in fields and "steps" not in fields:
        fault(node, path, "needs share (one for good) or steps (one after the other)")
    if share is None:
        return tuple(steps)
    return (share, *(step for step in steps if step > share))


def _unholdable(
    text: str, seconds: float | None, has_steps: bool, guard: GuardRule | None
) -> str | None:
    """Why the canary cannot be held as stated."""
    if seconds is None:
        return f"is {text!r}; write a time from 1s to 30d, as 30s, 15m, 6h or 2d"
    if not has_steps:
        return "moves steps on, and there are no steps"
    if guard is None or not _may_act(guard):
        return (
            "moves steps on where the guard is content, and this route has no guard with a check "
            "that may act; give it one, or leave hold out and move the steps with `gateway promote`"
        )
    return None


def _hold(text: str) -> float | None:
    match = _HOLD.fullmatch(text)
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    return seconds if HOLD_S[0] <= seconds <= HOLD_S[1] else None


_SHARES = f"a share is a percentage from {LEAST_SHARE} to 100, as 5 or 5%"


def _percent(value: Any) -> float | None:
    """A share as written; None where it is none."""
    if isinstance(value, str):
        match = _PERCENT.fullmatch(value.strip())
        value = float(match[1]) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if LEAST_SHARE <= value <= 100 else None


def _may_act(guard: GuardRule) -> bool:
    """Whether a check of a canary's answers may act, and so may be content with them."""
    return any(
        guard.action(check) is not OnTrip.ALERT
        and check.compared is not Reference.SHADOW
        and check.kind not in SCORED_ELSEWHERE
        for check in guard.checks
    )
