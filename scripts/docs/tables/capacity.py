"""What machines come to, computed from the measured figures and said to be computed.

Formulas. Requests a second of an engine: its tokens a second by the tokens of one answer. Time of a
request with as many under way: Little's law, L = X * R (J. D. C. Little, "A Proof for the Queuing
Formula: L = lambda W", Operations Research 9(3), 1961). What may be planned for: a share of that
(UTILISATION), since the wait of a queue with random arrivals grows as 1 / (1 - utilisation) (the
M/M/1 queue, L. Kleinrock, "Queueing Systems", volume 1, 1975, chapter 3): at 0.7 to 3.3 times an
empty machine's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scripts.docs.figures import NOT_READ, number, result, results, source
from scripts.docs.markdown import table

UTILISATION = 0.7  # of what was measured: what is planned for
NEW_TOKENS = 32  # of one answer in the engine's benchmark
DAY_S = 86_400
WANTED = (1, 10, 100)  # requests a second to find machines for
_MIXED = "gateway engine, mixed"
_HERE = "this gateway"


def planned(tokens_per_s: float, tokens: int = NEW_TOKENS) -> float:
    """Requests a second to plan one machine for, with answers of `tokens` tokens."""
    return UTILISATION * tokens_per_s / tokens


def seconds_each(streams: int, tokens_per_s: float, tokens: int = NEW_TOKENS) -> float:
    """How long a request takes while `streams` are under way (Little's law)."""
    return streams * tokens / tokens_per_s


def machines(wanted: float, tokens_per_s: float, tokens: int = NEW_TOKENS) -> int:
    """Machines for `wanted` requests a second."""
    return math.ceil(wanted / planned(tokens_per_s, tokens))


def capacity_engine() -> str:
    """Requests of the embedded engine, for each machine that it was measured on."""
    parts = [_engine(name) for name in ("engine", *results("engine-*"))]
    return "\n".join(part for part in parts if part) or NOT_READ


def capacity_memory() -> str:
    """Memory of the embedded engine and of what the gateway keeps."""
    rows: list[tuple[str, str]] = []
    sources = []
    read = result("engine")
    if read is not None and "memory_mb" in read["figures"]:
        held = read["figures"]["memory_mb"]
        rows += [
            (f"{name.replace('_', ' ')}, MB", number(value, 0)) for name, value in held.items()
        ]
        rows.append(("these together, MB", number(sum(held.values()), 0)))
        sources.append(source("engine", read))
    read = result("control")
    if read is not None:
        each = read["figures"]["bytes_per_route"]
        most = max(each, key=int)
        rows.append((f"{int(most):,} routes, MB", number(int(most) * each[most] / 1e6, 1)))
        sources.append(source("control", read))
    read = result("gateway")
    slow = None if read is None else read["figures"].get("slow_streams")
    if read is not None and slow:
        rows.append(("1,000 open streams, MB", number(slow["kib_a_stream"] * 1024 / 1e3, 0)))
        sources.append(source("gateway", read))
    if not rows:
        return NOT_READ
    return table(("what", "memory"), rows) + "\n" + "".join(sources)


def capacity_gateway() -> str:
    """What one core of a gateway over model servers passes on."""
    read = result("gateway")
    figures = {} if read is None else read["figures"].get("gateways", {})
    ours = next((each for name, each in figures.items() if name.startswith(_HERE)), None)
    if read is None or ours is None:
        return NOT_READ
    rows = []
    for how, said in (("whole", "whole answers"), ("stream", "streams")):
        for connections, row in ours[how].items():
            a_core = row.get("per_core_second")
            if a_core:
                plan = UTILISATION * a_core
                rows.append(
                    (
                        f"{said}, {connections} connections",
                        number(a_core, 0),
                        number(plan, 0),
                        str(math.ceil(1000 / plan)),
                    )
                )
    head = (
        "answers",
        "measured, requests/s a core",
        f"to plan for, {UTILISATION:.0%}",
        "cores for 1,000 requests/s",
    )
    return table(head, rows) + "\n" + source("gateway", read)


def capacity_guard() -> str:
    """How long a bad version answers before its guard acts, and what the guard costs."""
    read = result("guard")
    rates = {} if read is None else read["figures"].get("rates", {})
    if read is None or not rates:
        return NOT_READ
    tolerance, found = next(iter(rates["guard"].items()))
    until = found["until_trip"]["after 10,000 healthy"]
    rows = [
        (f"{rates['reference']:.0%} to {float(rate):.0%}", *_waits(each["p50"]))
        for rate, each in until.items()
        if each.get("p50") is not None
    ]
    head = ("bad answers go from", "answers", "at 1 a minute", "at 1 a second", "at 10 a second")
    text = table(head, rows)
    text += (
        f"\nHalf of the trips come sooner. Tolerance {float(tolerance):.0%}, after 10,000 healthy "
        "answers."
    )
    path = read["figures"].get("path")
    if path:
        share = path["request_us"]["p50"] * 1e-6 * 1000
        text += f" A guard costs {share:.1%} of a core at 1,000 requests a second."
    return text + "\n\n" + source("guard", read)


def _engine(name: str) -> str:
    read = result(name)
    if read is None:
        return ""
    figures: Mapping[str, Any] = read["figures"]
    rows = []
    for key in (key for key in figures if key.isdigit()):
        rate = figures[key].get(_MIXED, {}).get("tokens_per_s")
        if rate:
            plan = planned(rate)
            rows.append(
                (
                    key,
                    number(rate, 0),
                    number(plan, 2),
                    f"{plan * DAY_S:,.0f}",
                    number(seconds_each(int(key), rate), 1),
                    ", ".join(str(machines(wanted, rate)) for wanted in WANTED),
                )
            )
    if not rows:
        return ""
    head = (
        "requests under way",
        "measured, tokens/s",
        f"to plan for, requests/s ({UTILISATION:.0%})",
        "the same a day",
        "seconds a request takes",
        f"machines for {', '.join(map(str, WANTED))} requests/s",
    )
    return table(head, rows) + "\n" + source(name, read)


def _waits(answers: float) -> tuple[str, ...]:
    return (
        f"{answers:,.0f}",
        *(_span(answers / a_second) for a_second in (1 / 60, 1.0, 10.0)),
    )


def _span(seconds: float) -> str:
    for limit, unit in ((120, 1), (7200, 60), (172_800, 3600)):
        if seconds < limit:
            name = {1: "s", 60: "min", 3600: "h"}[unit]
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / DAY_S:.0f} days"
