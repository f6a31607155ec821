"""Events and folded states as JSON, and back. One version number, strictly read."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from pydantic import TypeAdapter

from gateway.routing.events import Change, EventKind
from gateway.routing.fold import RoutingState

VERSION = 1
_CHANGES: TypeAdapter[Change] = TypeAdapter(Change)
_STATES: TypeAdapter[RoutingState] = TypeAdapter(RoutingState)


def encode_change(change: Change) -> str:
    """The change as one line of JSON. Keys keep their order: a schema's order has a meaning."""
    return json.dumps({"v": VERSION, **asdict(change)}, ensure_ascii=False, allow_nan=False)


def decode_change(text: str) -> Change:
    """The change a line of JSON says. Raises ValueError for what this version cannot read."""
    stated: Any = json.loads(text)
    if not isinstance(stated, dict):
        raise ValueError(f"an event is a JSON object, not {text[:40]!r}")
    version = stated.pop("v", None)
    if version != VERSION:
        raise ValueError(f"event version {version} is not {VERSION}; upgrade the gateway")
    kind = stated.get("kind")
    if kind not in set(EventKind):
        raise ValueError(f"event kind {kind!r} is unknown; upgrade the gateway")
    change = _CHANGES.validate_python(stated)
    # A field this version does not know may carry meaning that a fold would lose.
    unknown = stated.keys() - {field.name for field in fields(change)}
    if unknown:
        raise ValueError(f"event fields {sorted(unknown)} are unknown; upgrade the gateway")
    return change


def encode_state(state: RoutingState) -> str:
    """The state as one line of JSON."""
    return json.dumps({"v": VERSION, **asdict(state)}, ensure_ascii=False, allow_nan=False)


def decode_state(text: str) -> RoutingState:
    """The state that a line of JSON says. Raises ValueError for what this version would say in any
    other way: a field too many or too few may carry meaning, and the events have it all."""
    stated: Any = json.loads(text)
    if not isinstance(stated, dict) or stated.pop("v", None) != VERSION:
        raise ValueError("the state is of another version")
    state = _STATES.validate_python(stated)
    if encode_state(state) != text:
        raise ValueError("the state is of another version")
    return state
