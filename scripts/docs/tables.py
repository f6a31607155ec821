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
    """The same for every other engine-NAME.json: GPUs, and larger models."""
    found = [_engine(path.stem) for path in sorted(RESULTS.glob("engine-*.json"))]
    return "\n".join(found) or "No GPU figure has been read yet.\n"


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


# What the engine is to reach at 16 streams.
_AIMS = {"mixed_to_base": 0.85, "mixed_to_peft_mixed": 1.4, "base_to_generate": 1.0}
_RATIO_NAMES = {
    "mixed_to_base": "mixed 8 adapters to base only",
    "mixed_to_peft_mixed": "mixed to peft's mixed batch",
    "base_to_generate": "base only to transformers generate",
}

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
    heads = [f"{key} stream{'' if key == '1' else 's'}" for key in streams]

    def by_streams(title: str, field: str, digits: int) -> str:
        """One row a way, for the ways that state `field`."""
        cells = {
            way: [figures[key].get(way, {}).get(field) for key in streams]
            for way in _names(figures[key] for key in streams)
        }
        rows = [
            (way, *(number(value, digits) for value in values))
            for way, values in cells.items()
            if any(value is not None for value in values)
        ]
        return table((title, *heads), rows) if rows else ""

    parts = [
        by_streams("tokens/s", "tokens_per_s", 0),
        by_streams("seconds to the first token", "first_token_s", 3),
        _ratios(figures.get("ratios", {}), streams, heads),
        _memory(figures.get("memory_mb", {})),
        source(name, read),
    ]
    return "\n".join(part for part in parts if part)


def _ratios(ratios: Mapping[str, Any], streams: Sequence[str], heads: Sequence[str]) -> str:
    """Ratios of tokens/s beside the aim at 16 streams."""
    rows = [
        (
            _RATIO_NAMES.get(name, name.replace("_", " ")),
            *(number(ratios.get(key, {}).get(name)) for key in streams),
            f"{aim:.2f}" if (aim := _AIMS.get(name)) else "",
        )
        for name in _names(ratios.get(key, {}) for key in streams)
    ]
    return table(("ratio of tokens/s", *heads, "aim at 16"), rows) if rows else ""


def _memory(found: Mapping[str, Any]) -> str:
    rows = [(name.replace("_", " "), number(value, 0)) for name, value in found.items()]
    return table(("memory", "MB"), rows) if rows else ""


def _names(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """Keys of all groups, once each, in the order they come."""
    return list(dict.fromkeys(name for group in groups for name in group))
