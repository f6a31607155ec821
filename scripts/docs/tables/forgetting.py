"""The forgetting experiment: base, aggressive and anchored, measure by measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.docs.figures import NOT_READ, number, result, source
from scripts.docs.markdown import table

_NAME = "forgetting"


def forgetting() -> str:
    """Target and guardrails of both recipes against the base, and what the gate said."""
    read = result(_NAME)
    if read is None:
        return NOT_READ
    figures: Mapping[str, Any] = read["figures"]
    base, aggressive, anchored = (figures[n] for n in ("base", "aggressive", "anchored"))
    rows = [
        (
            name,
            measured["unit"],
            number(base[kind][name], 3),
            _cell(aggressive[kind][name]),
            _cell(measured),
            number(measured["margin"]) if kind == "guardrails" else "",
        )
        for kind in ("target", "guardrails")
        for name, measured in anchored[kind].items()
        if measured["primary"] or kind == "target"
    ]
    rows.append(
        ("**gate**", "", "", f"**{_verdict(aggressive)}**", f"**{_verdict(anchored)}**", "")
    )
    head = ("measure", "unit", "base", "aggressive", "anchored", "may lose")
    kept = (
        f"Scores (higher is better), the difference to the base and its one-sided bounds. The "
        f"anchored recipe keeps {figures['gain_kept']:.0%} of the aggressive one's gain. Steps and "
        f"evaluations took {figures['minutes']:.0f} minutes (base's own answers to the anchors not "
        "counted).\n"
    )
    return "\n".join((table(head, rows), kept, source(_NAME, read)))


def _cell(measured: Mapping[str, Any]) -> str:
    low, high = measured["interval"]
    return (
        f"{number(measured['score'], 3)} ({measured['difference']:+.3f}; {low:+.3f} to "
        f"{high:+.3f}) {measured['verdict']}"
    )


def _verdict(run: Mapping[str, Any]) -> str:
    return str(run["gate"]["verdict"])
