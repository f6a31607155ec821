"""The guard's figures: benchmarks/results/guard.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scripts.docs.figures import NOT_READ, number, result, source
from scripts.docs.markdown import code, table

_NAME = "guard"


def _part(name: str, shown: Callable[[Mapping[str, Any]], str]) -> str:
    read = result(_NAME)
    if read is None or name not in read["figures"]:
        return NOT_READ
    return shown(read["figures"][name]) + "\n" + source(_NAME, read)


def guard_rates() -> str:
    """False trips and answers until a trip, by rates; the guard's tests and fixed windows."""
    return _part("rates", _rates)


def guard_pool() -> str:
    """The same for replicas that pool."""
    return _part("pool", _pool)


def guard_answers() -> str:
    """The same for traffic drawn from real answers."""
    return _part("answers", _answers)


def guard_live() -> str:
    """Damaged adapters end to end, and the cost on the request path."""
    read = result(_NAME)
    figures = {} if read is None else read["figures"]
    parts = [
        shown(figures[name])
        for name, shown in (("live", _live), ("path", _path))
        if name in figures
    ]
    if read is None or not parts:
        return NOT_READ
    return "\n".join([*parts, source(_NAME, read)])


def _rates(figures: Mapping[str, Any]) -> str:
    rates = ["0.02", "0.05", "0.2", "0.6"]
    rows = []
    for tolerance, read in figures["guard"].items():
        for when, until in read["until_trip"].items():
            name = f"guard, tolerance {float(tolerance):.1%}, bad {when}"
            rows.append((name, *_false(read), *(_until(until.get(rate)) for rate in rates)))
    for name, read in figures["windows"].items():
        until = read["until_trip"]
        rows.append((name, *_false(read), *(_until(until.get(rate)) for rate in rates)))
    head = (
        "rule",
        "healthy runs that trip",
        "at the bound",
        *(f"1% to {float(r):.0%}" for r in rates),
    )
    runs = next(iter(figures["guard"].values()))["false_trips"]["at the bound"]["runs"]
    said = (
        f"{runs:,} runs of {figures['answers']:,} answers; alpha {figures['alpha']:.0%}. Answers "
        f'until a trip: median (90% point). "At the bound" of the windows is at 3%. Read in '
        f"{figures['took_s'] / 60:.0f} minutes.\n"
    )
    return table(head, rows) + "\n" + said


def _false(read: Mapping[str, Any]) -> tuple[str, str]:
    found = read["false_trips"]
    return _share(found["at the reference"]), _share(found["at the bound"])


def _share(found: Mapping[str, Any]) -> str:
    return f"{found['share']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _until(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "healthy"
    return f"{_count(found['p50'])} ({_count(found['p90'])})"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _pool(figures: Mapping[str, Any]) -> str:
    rows = []
    fleets = {name: read for name, read in figures.items() if name.endswith("replicas")}
    for name, read in fleets.items():
        for way in ("pooled", "own evidence alone"):
            cells = [_until(found[way]) for found in read["until_trip"].values()]
            trips = _share(read["false_trips"]) if way == "pooled" else ""
            rows.append((name, way, trips, *cells))
    rates = next(iter(fleets.values()))["until_trip"]
    rated = [f"rate {float(rate):.0%}" for rate in rates]
    said = (
        f"Answers of the fleet until a trip: median (90% point). Bound {figures['bound']:.0%},"
        f" alpha {figures['alpha']:.0%}, {figures['answers_a_second']:.0f} answers a second; a "
        "healthy fleet is at the bound for 100,000 answers.\n"
    )
    head = ("fleet", "by", "healthy fleets that trip", *rated)
    return table(head, rows) + "\n" + said


def _answers(figures: Mapping[str, Any]) -> str:
    adapters = {name: read for name, read in figures.items() if "@" in name}
    rows = [
        (
            code(name),
            read["items"],
            len(read["signals"]),
            f"{read['false_trips']['tripped']} of {read['false_trips']['runs']}",
            *(_until(found) for found in read["until_trip"].values()),
        )
        for name, read in adapters.items()
    ]
    shares = next(iter(adapters.values()))["until_trip"]
    head = (
        "adapter",
        "its answers",
        "signals",
        "healthy runs that trip",
        *(f"the other's answers {share}" for share in shares),
    )
    return table(head, rows)


def _live(figures: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            read["bad_answers"],
            number(read["seconds"], 1),
            f"{read['failed']} of {read['requests']}",
            read["why"].split(";")[0],
        )
        for name, read in figures.items()
        if isinstance(read, dict)
    ]
    head = (
        "damage",
        "its answers until base",
        "seconds",
        "failed requests",
        "why, as the log says",
    )
    return table(head, rows)


def _path(figures: Mapping[str, Any]) -> str:
    request, stopped = figures["request_us"], figures["guard_stopped"]
    return (
        f"On a request's way (transcript of {figures['tokens']} deltas and handing it over): "
        f"{request['p50']} microseconds at the median, {request['p99']} at 99% (aim: 50 at the "
        f"median). With the guard's tasks stopped, {stopped['failed']} of {stopped['requests']} "
        "requests failed.\n"
    )
