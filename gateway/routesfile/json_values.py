"""Which YAML values the log can carry. No I/O."""

from __future__ import annotations

import json
from typing import Any


def is_json_mapping(value: Any) -> bool:
    """Whether `value` is a mapping that JSON carries unchanged (no dates, sets, NaN)."""
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and same
