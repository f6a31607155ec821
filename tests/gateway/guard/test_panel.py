"""All checks of a route together: the bound is the route's, and evidence survives a restart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gateway.guard.detectors import Answered
from gateway.guard.panel import Panel, bound_of
from gateway.guard.values import CheckKind, CheckRule, GuardRule, OnTrip

LABELS = ("net", "web", "mail", "games")
THREE = GuardRule(
    (
        CheckRule(CheckKind.LABELS, 0.01, tolerance=0.01, labels=LABELS),
        CheckRule(CheckKind.EMPTY, 0.01, tolerance=0.01, weight=2),
        CheckRule(CheckKind.ERRORS, 0.02),
    ),
    alpha=0.05,
)


def test_a_healthy_route_is_rarely_ever_tripped_by_any_of_its_checks() -> None:
    rng = np.random.default_rng(1)
    tripped = 0
    for _ in range(60):
        panel = Panel(THREE, None)
        rates = [signal.bound for signal in panel.signals]
        scores = (rng.random((600, 3)) < rates).astype(float)
        tripped += any(panel.take(list(row)) for row in scores)
    assert tripped / 60 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_the_parts_of_alpha_come_to_no_more_than_alpha() -> None:
    rule = GuardRule(
        (
            *THREE.checks,
            CheckRule(CheckKind.COLLAPSE, 0.4, tolerance=0.2, labels=LABELS, reference_items=240),
            CheckRule(CheckKind.CUT, window=50, threshold=0.2),
        ),
        alpha=0.01,
    )
    tests = [s for s in Panel(rule, None).signals if s.check.window is None]
    assert sum(s.alpha for s in tests) <= 0.01 + 1e-12


def test_a_reference_of_few_items_is_not_taken_as_exact() -> None:
    exact, _ = bound_of(CheckRule(CheckKind.EMPTY, 0.02), 0.01)
    few, part = bound_of(CheckRule(CheckKind.EMPTY, 0.02, reference_items=50), 0.01)
    many, _ = bound_of(CheckRule(CheckKind.EMPTY, 0.02, reference_items=100_000), 0.01)
    assert exact == pytest.approx(0.04)
    assert few > 0.1
    assert exact < many < 0.043
    assert part == 0.005


def test_a_collapsed_label_trips_and_an_ordinary_mix_does_not() -> None:
    rule = GuardRule((CheckRule(CheckKind.COLLAPSE, 0.4, tolerance=0.2, labels=LABELS),))
    rng = np.random.default_rng(2)
    panel = Panel(rule, None)
    for label in rng.choice(LABELS, 2000, p=[0.4, 0.3, 0.2, 0.1]):
        assert not panel.take(panel.score(Answered(str(label), "ok")))
    found = []
    for _ in range(120):
        found += panel.take(panel.score(Answered("web", "ok")))
    assert [evidence.signal.name for evidence in found] == ["collapse:web"]
    assert "web" in str(found[0])


def test_a_plain_rule_trips_by_its_window_alone() -> None:
    rule = GuardRule((CheckRule(CheckKind.EMPTY, window=10, threshold=0.35),))
    panel = Panel(rule, None)
    trips = [panel.take([score]) for score in [1.0] * 9 + [0.0]]
    assert [len(t) for t in trips] == [0] * 9 + [1]
    assert "last 10" in str(trips[-1][0])


def test_evidence_goes_on_after_a_restart() -> None:
    before, whole = Panel(THREE, None), Panel(THREE, None)
    scores = [1.0, 0.0, None]
    for _ in range(3):
        before.take(scores)
        whole.take(scores)
    after = Panel(THREE, None)
    after.restore(json.loads(json.dumps(before.saved())))
    after.take(scores)
    whole.take(scores)
    assert after.saved() == whole.saved()


@pytest.mark.parametrize("change", ["names", "wealth", "seen", "tripped"])
def test_evidence_of_another_guard_is_not_taken(change: str) -> None:
    saved = Panel(THREE, None).saved()
    saved[change] = saved[change][1:]
    with pytest.raises(ValueError, match="evidence"):
        Panel(THREE, None).restore(saved)


def test_slowness_alerts_unless_the_route_says_otherwise() -> None:
    rule = GuardRule(())
    assert rule.action(CheckRule(CheckKind.FIRST_TOKEN)) is OnTrip.ALERT
    assert rule.action(CheckRule(CheckKind.SCHEMA)) is OnTrip.DISABLE
    acting = CheckRule(CheckKind.FIRST_TOKEN, on_trip=OnTrip.ROLLBACK)
    assert rule.action(acting) is OnTrip.ROLLBACK
