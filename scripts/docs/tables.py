"""The tables of figures, from benchmarks/results/*.json and registry/*/*/report.json.

A page holds `<!-- table: NAME -->` and `<!-- end -->`; what stands between is made by the function
that TABLES calls NAME. To add a table, write a function that returns Markdown and name it there.
What a results file does not have is left out, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.docs.markdown import code, table

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


def engine() -> str:
    """Tokens per second of each way of running many adapters, by streams."""
    return _engine("engine")


def engine_gpu() -> str:
    """The same, read on a GPU."""
    return _engine("engine-gpu")


def adapters() -> str:
    """The shipped adapters against the base on their tasks."""
    rows = []
    for path in sorted(REGISTRY.glob("*/*/report.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        low, high = report.get("interval_95", (None, None))
        rows.append(
            (
                code(f"{path.parent.parent.name}@{path.parent.name}"),
                report.get("metric", ""),
                report.get("items", ""),
                number(report.get("base")),
                number(report.get("adapter")),
                f"{number(report.get('difference'))} ({number(low)} to {number(high)})",
            )
        )
    head = ("adapter", "metric", "items", "base", "adapter", "difference (95% interval)")
    return table(head, rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "engine": engine,
    "engine-gpu": engine_gpu,
    "adapters": adapters,
}


def _engine(name: str) -> str:
    read = result(name)
    if read is None:
        return NOT_READ
    figures: dict[str, Any] = read["figures"]
    streams = [key for key in figures if key.isdigit()]
    ratios, memory = figures.get("ratios", {}), figures.get("memory_mb", {})
    heads = [f"{key} stream{'' if key == '1' else 's'}" for key in streams]

    def by_streams(title: str, found: Mapping[str, Any], field: str | None, digits: int) -> str:
        names = _names(found.get(key, {}) for key in streams)
        rows: list[Sequence[object]] = []
        for each in names:
            cells = [found.get(key, {}).get(each) for key in streams]
            if field is not None:
                cells = [(cell or {}).get(field) for cell in cells]
            if any(cell is not None for cell in cells):
                rows.append((each.replace("_", " "), *(number(cell, digits) for cell in cells)))
        return table((title, *heads), rows) if rows else ""

    parts = [
        by_streams("tokens/s", figures, "tokens_per_s", 0),
        by_streams("seconds to the first token", figures, "first_token_s", 3),
        by_streams("ratio of tokens/s", ratios, None, 2),
        table(("memory", "MB"), [(k.replace("_", " "), number(v, 0)) for k, v in memory.items()])
        if memory
        else "",
        source(name, read),
    ]
    return "\n".join(part for part in parts if part)


def _names(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """Keys of all groups, once each, in the order they come."""
    return list(dict.fromkeys(name for group in groups for name in group))
