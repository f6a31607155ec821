"""What a guard counts, as metrics of its route's arms."""

from __future__ import annotations

import contextlib

from gateway.guard.acting import HELD
from gateway.guard.panel import Signal
from gateway.guard.values import CheckKind, OnTrip, Reference
from gateway.guard.watched import ABORT, Watched
from gateway.metrics import Metrics


def expect(metrics: Metrics, watched: Watched) -> None:
    """Have the counters of a route's trips there at 0 before the first one: Prometheus sees an
    increase only of what was there before."""
    rule = watched.panel.rule
    for check in rule.checks:
        action = watched.action(check)
        acts = () if action in (OnTrip.ALERT, ABORT) else (OnTrip.DISABLE, HELD)
        for what in (OnTrip.ALERT, action, *acts):
            metrics.guard_trips.labels(watched.workflow, watched.arm, check.kind, what)


def count(metrics: Metrics, watched: Watched, scores: list[float | None]) -> None:
    """Count one answer's scores; of several signals of a check, the first. Of pairs the shadow
    counts."""
    place, counted = (watched.workflow, watched.arm), set[CheckKind]()
    for signal, score in zip(watched.panel.signals, scores, strict=True):
        kind = signal.check.kind
        if score is None or kind in counted or _of_shadow(signal):
            continue
        counted.add(kind)
        metrics.guard_answers.labels(*place, kind).inc()
        if kind is not CheckKind.COLLAPSE:
            metrics.guard_bad.labels(*place, kind).inc(score)


def _of_shadow(signal: Signal) -> bool:
    return signal.check.compared is Reference.SHADOW


def show(metrics: Metrics, watched: Watched) -> None:
    """Set the gauges of one route: of several signals of a check, the farthest."""
    farthest: dict[CheckKind, float] = {}
    for evidence in watched.evidence():
        kind = evidence.signal.check.kind
        farthest[kind] = max(farthest.get(kind, 0.0), evidence.progress)
    for kind, progress in farthest.items():
        metrics.guard_evidence.labels(watched.workflow, watched.arm, kind).set(progress)


def forget(metrics: Metrics, watched: Watched) -> None:
    """Take a route's gauges away."""
    for kind in {signal.check.kind for signal in watched.panel.signals}:
        with contextlib.suppress(KeyError):
            metrics.guard_evidence.remove(watched.workflow, watched.arm, kind)
