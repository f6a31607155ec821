"""What the admin API and the rates say, as one typed value. Pure: answers in, overview out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.view.readings import Rates


@dataclass(frozen=True, slots=True)
class Progress:
    """The check of a route that is nearest to a trip."""

    check: str
    share: float  # of the way to a trip: 0 to 1
    tripped: bool
    seen: int  # answers


@dataclass(frozen=True, slots=True)
class RouteLine:
    """One workflow. `rates` is None where the metrics cannot be read."""

    workflow: str
    target: str
    reason: str
    note: str  # whose hand lies on it, and why; or what is wrong with its adapter
    rates: Rates | None
    guard: Progress | None  # None: no guard, or it has seen nothing
    canary: str = ""  # how far it is, where the route has one

    @property
    def urgency(self) -> tuple[bool, float, float]:
        """What is to be seen first, when not all fit: not as the file says, near a trip, busy."""
        near = 0.0 if self.guard is None else self.guard.share
        return (bool(self.note), near, 0.0 if self.rates is None else self.rates.requests_s)


@dataclass(frozen=True, slots=True)
class TripLine:
    """One trip of a guard."""

    at: float  # seconds since the epoch
    workflow: str
    target: str
    action: str
    why: str


@dataclass(frozen=True, slots=True)
class ReplicaLine:
    """One gateway that shares the log."""

    name: str
    live: bool
    seen_s: float
    revision: int
    pending: int  # workflows that wait for an adapter there


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at a gateway."""

    at: float  # seconds since the epoch
    version: str
    revision: int
    engine: str
    rows: tuple[int, int]  # running, and at most
    queue: tuple[int, int]  # waiting, and at most
    slots: tuple[int, int]  # with adapters, and at most
    problems: tuple[str, ...]  # of engine, log, file and metrics
    routes: tuple[RouteLine, ...]  # the most urgent first
    trips: tuple[TripLine, ...]  # the newest first
    replicas: tuple[ReplicaLine, ...]


def overview(
    status: Mapping[str, Any],
    routes: Mapping[str, Any],
    guard: Mapping[str, Any],
    rates: Mapping[str, Rates] | None,
    *,
    at: float,
    metrics_problem: str = "",
) -> Overview:
    """The answers of `/status`, `/routes` and `/guard`, and the rates where there are some."""
    info, stats = status["engine"], status["stats"]
    guards = {each["workflow"]: each for each in guard["guards"]}
    lines = [
        _route(name, route, guards.get(name), rates) for name, route in routes["workflows"].items()
    ]
    trips = [_trip(trip) for each in guard["guards"] for trip in each["trips"]]
    return Overview(
        at=at,
        version=status["version"],
        revision=status["revision"],
        engine=f"{info['model']} on {info['device']}",
        rows=(stats["running_rows"], info["max_rows"]),
        queue=(stats["queue_depth"], info["max_queue"]),
        slots=(len(stats["resident_adapters"]), info["slots"]),
        problems=tuple(_problems(status, metrics_problem)),
        routes=tuple(sorted(lines, key=lambda line: line.urgency, reverse=True)),
        trips=tuple(sorted(trips, key=lambda trip: trip.at, reverse=True)),
        replicas=tuple(
            ReplicaLine(
                one["replica"], one["live"], one["seen_s"], one["revision"], len(one["pending"])
            )
            for one in status["replicas"]
        ),
    )


def _route(
    name: str,
    route: Mapping[str, Any],
    guard: Mapping[str, Any] | None,
    rates: Mapping[str, Rates] | None,
) -> RouteLine:
    return RouteLine(
        workflow=name,
        target=route["target"],
        reason=route["reason"],
        note=_note(route),
        rates=None if rates is None else rates.get(name, Rates(0.0, 0.0, 0.0, None, None)),
        guard=None if guard is None else _nearest(guard),
        canary="" if route.get("canary") is None else _canary(route["canary"]),
    )


def _note(route: Mapping[str, Any]) -> str:
    hands = [
        f"{kind} by {hand['actor']}" + (f": {hand['reason']}" if hand["reason"] else "")
        for kind, hand in (route["override"] or {}).items()
    ]
    return "; ".join([*hands, *([route["why"]] if route["why"] else [])])


def _canary(canary: Mapping[str, Any]) -> str:
    by = canary["since"]
    if canary["phase"] == "running":
        return f"canary {canary['adapter']} answers {canary['share']:g}% of it"
    why = f": {by['reason']}" if by["reason"] else ""
    return f"canary {canary['adapter']} {canary['phase']} by {by['actor']}{why}"


def _nearest(guard: Mapping[str, Any]) -> Progress | None:
    signals = guard["signals"]
    if not signals:
        return None
    nearest = max(signals, key=lambda signal: float(signal["progress"]))
    return Progress(
        check=nearest["name"],
        share=nearest["progress"],
        tripped=nearest["tripped"],
        seen=max(signal["seen"] for signal in signals),
    )


def _trip(trip: Mapping[str, Any]) -> TripLine:
    return TripLine(trip["at"], trip["workflow"], trip["target"], trip["action"], trip["why"])


def _problems(status: Mapping[str, Any], metrics_problem: str) -> list[str]:
    log, file = status["log"], status["routes_file"]
    found = []
    if not status["stats"]["healthy"]:
        found.append("the engine HAS FAILED: restart the gateway")
    if status["ready"] != "ok":
        found.append(f"not ready: {status['ready']}")
    if not log["ok"]:
        found.append(f"the log is AWAY for {log['stale_seconds']:.0f} s: {log['error']}")
    if log["owed"]:
        found.append(f"{log['owed']} orders are obeyed here ALONE until the log is back")
    if log["copy_error"]:
        found.append(f"the copy of the log IS BEHIND: {log['copy_error']}")
    if not file["ok"]:
        found.append(f"{file['path']} was NOT ACCEPTED ({len(file['problems'])} faults)")
    lost = status["unavailable_adapters"].items()
    found += [f"{ref} CANNOT BE SERVED: {why}" for ref, why in lost]
    if metrics_problem:
        found.append(f"no rates: {metrics_problem}")
    return found
