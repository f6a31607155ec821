"""What a guard counts, as metrics of its route."""

from __future__ import annotations

import contextlib

from gateway.guard.acting import HELD
from gateway.guard.values import CheckKind, OnTrip
from gateway.guard.watched import Watched
from gateway.metrics import Metrics


def expect(metrics: Metrics, watched: Watched) -> None:
    """Have the counters of a route's trips there at 0 before the first one: Prometheus sees an
    increase only of what was there before."""
    rule = watched.panel.rule
    for check in rule.checks:
        action = rule.action(check)
        acts = () if action is OnTrip.ALERT else (action, OnTrip.DISABLE, HELD)
        for what in (OnTrip.ALERT, *acts):
            metrics.guard_trips.labels(watched.decision.workflow, check.kind, what)


def count(metrics: Metrics, watched: Watched, scores: list[float | None]) -> None:
    """Count one answer's scores; of several signals of a check, the first. Of pairs the shadow
    counts."""
    workflow, counted = watched.decision.workflow, set[CheckKind]()
    for signal, score in zip(watched.panel.signals, scores, strict=True):
        kind = signal.check.kind
        if score is None or kind in counted or signal.check.is_paired:
            continue
        counted.add(kind)
        metrics.guard_answers.labels(workflow, kind).inc()
        if kind is not CheckKind.COLLAPSE:
            metrics.guard_bad.labels(workflow, kind).inc(score)


def show(metrics: Metrics, watched: Watched) -> None:
    """Set the gauges of one route: of several signals of a check, the farthest."""
    farthest: dict[CheckKind, float] = {}
    for evidence in watched.evidence():
        kind = evidence.signal.check.kind
        farthest[kind] = max(farthest.get(kind, 0.0), evidence.progress)
    for kind, progress in farthest.items():
        metrics.guard_evidence.labels(watched.decision.workflow, kind).set(progress)


def forget(metrics: Metrics, watched: Watched) -> None:
    """Take a route's gauges away."""
    for kind in {signal.check.kind for signal in watched.panel.signals}:
        with contextlib.suppress(KeyError):
            metrics.guard_evidence.remove(watched.decision.workflow, kind)
