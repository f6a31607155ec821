"""The texts of pairs, for routes that ask for them: JSON lines in the state folder, bounded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = "shadow"


def append(folder: Path, workflow: str, line: Mapping[str, Any], most_bytes: int) -> None:
    """Add a line to `folder`/shadow/WORKFLOW.jsonl, readable by its owner alone. Raises OSError.

    A file that would grow over half of `most_bytes` becomes WORKFLOW.1.jsonl first, in place of
    the one before it, so that both together stay under `most_bytes` and hold the newest lines. A
    line over half of it is left out.
    """
    path = folder / FOLDER / f"{workflow}.jsonl"
    data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    half = most_bytes // 2
    if len(data) > half:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size + len(data) > half:
        path.replace(path.with_name(f"{workflow}.1.jsonl"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(data)
