"""The guard's simulations say what the product's tests do."""

from __future__ import annotations

import numpy as np

from benchmarks.guard_runs import Bets, WindowedRule, spread, window_trips
from gateway.guard.panel import Panel
from gateway.guard.values import CheckKind, CheckRule, GuardRule


def test_a_simulated_run_trips_at_the_answer_at_which_a_panel_does() -> None:
    rng = np.random.default_rng(3)
    bad = rng.random((400, 8)) < 0.1
    bets = Bets.begun(8, bound=0.02, alpha=0.01)
    bets.take(bad)
    for run in range(8):
        panel = Panel(GuardRule((CheckRule(CheckKind.EMPTY),)), None)
        found = (at for at, score in enumerate(bad[:, run], 1) if panel.take([float(score)]))
        assert bets.tripped[run] == next(found, 0)


def test_a_rule_in_minutes_acts_at_the_end_of_its_last_failed_one() -> None:
    rng = np.random.default_rng(1)
    always = WindowedRule("all bad", window=100, most=0.5, failures=3)
    assert (window_trips(rng, 4, 1000, 1.0, always) == 300).all()
    assert (window_trips(rng, 4, 1000, 0.0, always) == 0).all()


def test_a_point_that_too_few_runs_reach_is_none() -> None:
    assert spread(np.array([5, 0, 7, 0]))["p50"] == 7
    assert spread(np.array([5, 0, 7, 0]))["p90"] is None
