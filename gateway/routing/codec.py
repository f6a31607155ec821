"""Events as JSON in the log, and back. One version number, strictly read."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from gateway.routing.events import Change, EventKind

VERSION = 1
_CHANGES: TypeAdapter[Change] = TypeAdapter(Change)


def encode_change(change: Change) -> str:
    """The change as one line of JSON. Keys keep their order: a schema's order has a meaning."""
    return json.dumps({"v": VERSION, **asdict(change)}, ensure_ascii=False)


def decode_change(text: str) -> Change:
    """The change a line of JSON says. Raises ValueError for what this version cannot read."""
    fields: dict[str, Any] = json.loads(text)
    version = fields.pop("v", None)
    if version != VERSION:
        raise ValueError(f"event version {version} is not {VERSION}; upgrade the gateway")
    EventKind(fields["kind"])
    return _CHANGES.validate_python(fields)
