"""Results files and reports as the tables read them. What is not there is left out, not guessed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scripts.docs.markdown import code

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
REGISTRY = ROOT / "registry"
NOT_READ = "Not read yet.\n"


def result(name: str) -> dict[str, Any] | None:
    """The results file NAME.json, if it has been read."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def results(pattern: str) -> list[str]:
    """The names of the results files that match, for example engine-*."""
    return sorted(path.stem for path in RESULTS.glob(f"{pattern}.json"))


def source(name: str, read: Mapping[str, Any]) -> str:
    """Where, when and with what the figures of a results file were read."""
    machine = read.get("machine", {})
    parts = [
        machine.get("gpu") or f"{machine.get('cpu', 'unknown CPU')}, {machine.get('cores')} cores",
        str(read.get("at", ""))[:10],
        f"commit {read['commit']}" if read.get("commit") else "",
        ", ".join(f"{package} {version}" for package, version in read.get("versions", {}).items()),
    ]
    said = "; ".join(part for part in parts if part)
    return f"Read on {said} ({code(f'benchmarks/results/{name}.json')}).\n"


def number(value: object, digits: int = 2) -> str:
    """A figure, or a dash where there is none."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"


def names(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """Keys of all groups, once each, in the order they come."""
    return list(dict.fromkeys(name for group in groups for name in group))
