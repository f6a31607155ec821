"""Events as JSON in the log, and back. One version number, strictly read."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from pydantic import TypeAdapter

from gateway.routing.events import Change, EventKind

VERSION = 1
_CHANGES: TypeAdapter[Change] = TypeAdapter(Change)


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
    EventKind(str(stated.get("kind")))
    change = _CHANGES.validate_python(stated)
    # A field this version does not know may carry meaning that a fold would lose.
    unknown = stated.keys() - {field.name for field in fields(change)}
    if unknown:
        raise ValueError(f"event fields {sorted(unknown)} are unknown; upgrade the gateway")
    return change
