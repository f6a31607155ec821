"""How far each canary is, as `gateway status` says it."""

from __future__ import annotations

from typing import Any

from gateway.cli.outcomes import by


def canary_lines(workflows: dict[str, Any]) -> list[str]:
    """A line for each workflow whose file names a canary, and what it waits for."""
    return [
        line
        for name, route in workflows.items()
        if (canary := route["canary"]) is not None
        for line in _lines(name, route, canary)
    ]


def _lines(name: str, route: dict[str, Any], canary: dict[str, Any]) -> list[str]:
    adapter, moved = canary["adapter"], by(canary["since"])
    if canary["phase"] == "aborted":
        return [
            f"canary     {adapter} was ABORTED for {name}, {moved}; `gateway resume {name}` begins "
            "it again"
        ]
    if canary["phase"] == "promoted":
        return [
            f"canary     {adapter} answers EVERYTHING of {name}, the file still says "
            f"{route['file_target']}: make it the target there ({moved})"
        ]
    step = f"step {canary['step']} of {len(canary['steps'])}"
    lines = [f"canary     {name} tries {adapter} at {canary['share']:g}%, {step}, {moved}"]
    held = (route["override"] or {}).keys()
    if held:
        lines.append(f"           it answers NOTHING while {name} is {' and '.join(held)}")
        return lines
    to = "everything" if canary["next_share"] is None else f"{canary['next_share']:g}%"
    if canary["left_s"] is None:
        lines.append(f"           `gateway promote {name}` moves it to {to}")
        return lines
    when = f"in {_time(canary['left_s'])}" if canary["left_s"] > 0 else "as soon as it may"
    lines.append(f"           it goes to {to} {when}")
    lines += [f"           waits: {why}" for why in canary["waits_for"]]
    return lines


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
