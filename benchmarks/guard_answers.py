"""Traffic of real answers: what the shipped adapters said in their evals, scored by the product's
own panel.

An adapter's healthy traffic is drawn from its own answers (`report.json`, on the items that judged
it). What is bad is drawn from the other adapter's: that is what a route gets when it is sent to the
wrong adapter.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from benchmarks.guard_damage import LABELS, ROOT
from benchmarks.guard_runs import Counts, share, spread
from gateway.guard import sequential as seq
from gateway.guard.detectors import Answered
from gateway.guard.panel import Panel
from gateway.guard.values import CheckKind, CheckRule, GuardRule
from gateway.registry.report import eval_answers
from gateway.registry.store import Registry
from gateway.routing.table import AdapterRef

RATES = (0.05, 0.2, 0.6)
ADAPTERS = ("package-section@2", "package-facts@2")
_COMMON = (CheckKind.EMPTY, CheckKind.REFUSAL, CheckKind.CUT)


def rule(adapter: str, healthy: list[Answered]) -> GuardRule:
    """The guard of its route, with the references that its own answers give: what a rate is on so
    many eval items is read, not known."""
    if not adapter.startswith("package-section"):
        return GuardRule(tuple(_check(kind, healthy) for kind in (CheckKind.SCHEMA, *_COMMON)))
    said = [one.text.strip() for one in healthy]
    commonest = max(said.count(label) for label in LABELS) / len(said)
    collapse = CheckRule(
        CheckKind.COLLAPSE,
        reference=commonest,
        reference_items=len(said),
        tolerance=0.2,
        labels=LABELS,
    )
    return GuardRule((*(_check(kind, healthy) for kind in (CheckKind.LABELS, *_COMMON)), collapse))


def _check(kind: CheckKind, answers: list[Answered]) -> CheckRule:
    """A check whose reference is the mean of its scores of `answers`."""
    plain = CheckRule(kind, labels=LABELS)
    panel = Panel(GuardRule((plain,)), None)
    scores = [panel.score(one)[0] or 0.0 for one in answers]
    reference = sum(scores) / len(scores)
    return dataclasses.replace(plain, reference=reference, reference_items=len(scores))


def read(seed: int, runs: int, answers: int) -> dict[str, Any]:
    """False trips on traffic drawn from the adapter's answers, and answers until a trip where a
    share of them becomes the other adapter's."""
    said = {name: _said(name) for name in ADAPTERS}
    found: dict[str, Any] = {}
    for number, (name, healthy) in enumerate(said.items()):
        (other,) = (theirs for each, theirs in said.items() if each != name)
        panel = Panel(rule(name, healthy), None)
        good, bad = _scores(panel, healthy), _scores(panel, other)
        rng = np.random.default_rng([seed, number])
        found[name] = {
            "items": len(healthy),
            "signals": {signal.name: round(signal.bound, 4) for signal in panel.signals},
            "answers": answers,
            "false_trips": share(_trips(rng, panel, good, good, 0.0, runs, answers)),
            "until_trip": {
                f"{rate:.0%}": spread(_trips(rng, panel, good, bad, rate, 200, 4000))
                for rate in RATES
            },
        }
    return found


def _said(name: str) -> list[Answered]:
    """What an adapter answered in its eval."""
    report = Registry(ROOT / "registry").report(AdapterRef.parse(name))
    assert report is not None
    return [Answered(each.text, "ok", each.finish) for each in eval_answers(report)]


def _scores(panel: Panel, answers: list[Answered]) -> seq.Floats:
    """The panel's scores; NaN where a signal does not apply. [answers, signals]"""
    return np.array([panel.score(one) for one in answers], dtype=np.float64)


def _trips(
    rng: np.random.Generator,
    panel: Panel,
    good: seq.Floats,
    bad: seq.Floats,
    rate: float,
    runs: int,
    answers: int,
) -> Counts:
    """The answer at which each run trips by any signal; 0 for none. A share `rate` of the answers
    is drawn from `bad`, the rest from `good`; bounds and lines are the panel's."""
    bound = np.array([signal.bound for signal in panel.signals])
    line = np.array([1 / signal.alpha for signal in panel.signals])
    stake = seq.stakes(bound)  # [signals, stakes]
    wealth = np.zeros((runs, len(bound), seq.STAKES))
    seen = np.zeros((runs, len(bound)))
    tripped = np.zeros(runs, np.int64)
    for at in range(1, answers + 1):
        scores = np.where(
            (rng.random(runs) < rate)[:, None],
            bad[rng.integers(len(bad), size=runs)],
            good[rng.integers(len(good), size=runs)],
        )  # [runs, signals]
        counted = ~np.isnan(scores)
        grown = seq.growth(stake, bound, np.nan_to_num(scores))
        grown = np.where(counted[..., None], grown, 1.0)
        wealth = seq.advance(wealth, seen, counted, grown)
        seen += counted
        over = (seq.e_value(wealth, seen) >= line).any(axis=1)
        tripped[over & (tripped == 0)] = at
        if rate > 0 and (tripped > 0).all():
            break
    return tripped
