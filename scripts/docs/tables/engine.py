"""The engine's figures: benchmarks/results/engine.json, and engine-NAME.json for other machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.docs.figures import NOT_READ, names, number, result, results, source
from scripts.docs.markdown import table


@dataclass(frozen=True, slots=True)
class _Ratio:
    title: str
    aim: float  # at 16 streams
    over: str  # the ways whose tokens/s are divided
    under: str


_OURS, _OURS_MIXED = "gateway engine, base", "gateway engine, mixed"
_RATIOS: Mapping[str, _Ratio] = {
    "mixed_to_base": _Ratio("mixed 8 adapters to base only", 0.85, _OURS_MIXED, _OURS),
    "mixed_to_peft_mixed": _Ratio(
        "mixed to peft's mixed batch", 1.4, _OURS_MIXED, "peft adapter_names, mixed"
    ),
    "base_to_generate": _Ratio(
        "base only to transformers generate", 1.0, _OURS, "transformers generate, base"
    ),
}


def engine() -> str:
    """Tokens per second of each way of running many adapters, by streams."""
    return _engine("engine")


def engine_gpu() -> str:
    """The same for every other engine-NAME.json: GPUs, and larger models."""
    found = [_engine(name) for name in results("engine-*")]
    return "\n".join(found) or "No GPU figure has been read yet.\n"


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
            for way in names(figures[key] for key in streams)
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
        _ratios(figures, streams, heads),
        _memory(figures.get("memory_mb", {})),
        source(name, read),
    ]
    return "\n".join(part for part in parts if part)


def _ratios(figures: Mapping[str, Any], streams: Sequence[str], heads: Sequence[str]) -> str:
    """Ratios of tokens/s beside the aim: as the benchmark read them, else of the figures above."""

    def ratio(name: str, ratio: _Ratio, key: str) -> float | None:
        read: float | None = figures.get("ratios", {}).get(key, {}).get(name)
        if read is not None:
            return read
        over, under = (
            figures[key].get(way, {}).get("tokens_per_s") for way in (ratio.over, ratio.under)
        )
        return over / under if over and under else None

    rows = [
        (each.title, *(number(ratio(name, each, key)) for key in streams), number(each.aim))
        for name, each in _RATIOS.items()
    ]
    return table(("ratio of tokens/s", *heads, "aim at 16"), rows)


def _memory(found: Mapping[str, Any]) -> str:
    rows = [(name.replace("_", " "), number(value, 0)) for name, value in found.items()]
    return table(("memory", "MB"), rows) if rows else ""
