"""The gate's verdicts: pass only where it is shown, undecided where it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.gate.evaluations import FACTS, FLUENCY, TARGET, pairs_of, right
from trainer.errors import RecipeError, TrainerError
from trainer.evals.values import Measure, SuiteKind
from trainer.gate.judge import items_needed, judge
from trainer.gate.values import GateRule, GateVerdict, PairedScores, Verdict

RULE = GateRule(resamples=500)
GAIN = (right(10, 100), right(60, 100))
FLAT = (right(50, 100), right(50, 100))
Both = tuple[Sequence[float], Sequence[float]]


def _judge(target: Both = GAIN, facts: Both = FLAT, rule: GateRule = RULE) -> GateVerdict:
    return judge(pairs_of({TARGET: target, FACTS: facts}), rule)


def test_a_gain_with_flat_guardrails_passes() -> None:
    verdict = _judge()
    assert verdict.verdict is Verdict.PASS
    assert verdict.target[0].p_value < 1e-10
    assert verdict.guardrails[0].items_needed is None
    assert "1 guardrails hold" in verdict.reason


def test_shown_harm_fails_whatever_the_target_gains() -> None:
    verdict = _judge(facts=(right(50, 100), right(10, 100)))
    assert verdict.verdict is Verdict.FAIL
    assert "facts/exact: worse by at least" in verdict.reason


def test_harm_beyond_doubt_with_its_best_guess_beyond_the_margin_fails() -> None:
    verdict = _judge(facts=(right(30, 40), right(24, 40)))
    guardrail = verdict.guardrails[0]
    assert guardrail.low < guardrail.difference < -FACTS.margin < guardrail.high < 0
    assert guardrail.verdict is Verdict.FAIL


def test_a_flat_suite_of_ten_items_is_undecided_and_says_how_many_it_takes() -> None:
    guardrail = _judge(facts=(right(5, 10), right(5, 10))).guardrails[0]
    assert guardrail.verdict is Verdict.UNDECIDED
    assert guardrail.items_needed is not None
    enough = guardrail.items_needed
    assert f"about {enough} items would decide" in guardrail.reason
    again = _judge(facts=(right(enough // 2, enough), right(enough // 2, enough)))
    assert again.guardrails[0].verdict is Verdict.PASS


def test_no_gain_shown_is_undecided_on_few_items_and_fails_on_many() -> None:
    few = _judge(target=(right(3, 10), right(4, 10)))
    assert few.verdict is Verdict.UNDECIDED
    many = _judge(target=(right(300, 1000), right(200, 1000)))
    assert many.verdict is Verdict.FAIL


def test_a_gain_below_what_was_asked_does_not_pass() -> None:
    asked = replace(RULE, min_gain=0.55)
    assert _judge(rule=asked).verdict is Verdict.UNDECIDED
    assert _judge(rule=replace(RULE, min_gain=0.9)).verdict is Verdict.FAIL


def test_a_margin_of_the_rule_stands_above_the_suites() -> None:
    harmed = (right(50, 100), right(49, 100))
    assert _judge(facts=harmed).verdict is Verdict.PASS
    tight = replace(RULE, margins={"facts/exact": 0.02})
    assert _judge(facts=harmed, rule=tight).guardrails[0].verdict is Verdict.UNDECIDED


def test_a_margin_without_a_measure_is_refused() -> None:
    with pytest.raises(RecipeError, match="facts/exakt"):
        _judge(rule=replace(RULE, margins={"facts/exakt": 0.1}))


def test_guardrails_share_alpha_and_the_target_does_not() -> None:
    more = replace(FACTS, check="second")
    verdict = judge(pairs_of({TARGET: GAIN, FACTS: FLAT, more: FLAT}), RULE)
    assert [g.confidence for g in verdict.guardrails] == [0.975, 0.975]
    assert verdict.target[0].confidence == 0.95


def test_what_is_not_primary_is_reported_and_not_judged() -> None:
    aside = replace(FACTS, check="aside", primary=False)
    verdict = judge(
        pairs_of({TARGET: GAIN, FACTS: FLAT, aside: (right(90, 100), right(0, 100))}), RULE
    )
    assert verdict.verdict is Verdict.PASS
    assert verdict.guardrails[1].verdict is Verdict.FAIL
    assert verdict.guardrails[0].confidence == 0.95


def test_continuous_guardrails_are_bounded_by_the_bootstrap() -> None:
    base = np.random.default_rng(0).normal(-3, 0.5, size=120)
    worse = base - np.random.default_rng(1).normal(0.4, 0.1, size=120)
    same = base - np.random.default_rng(2).normal(0.01, 0.05, size=120)
    for after, expected in ((worse, Verdict.FAIL), (same, Verdict.PASS), (base, Verdict.PASS)):
        pairs = pairs_of({TARGET: GAIN, FLUENCY: (base.tolist(), after.tolist())})
        assert judge(pairs, RULE).verdict is expected


@pytest.mark.parametrize(
    "pairs",
    [
        pairs_of({TARGET: GAIN}),
        pairs_of({FACTS: FLAT}),
        pairs_of({TARGET: GAIN, replace(TARGET, check="twice"): GAIN, FACTS: FLAT}),
        pairs_of({TARGET: GAIN, replace(FACTS, primary=False): FLAT}),
    ],
)
def test_one_target_and_some_guardrail_are_required(pairs: list[PairedScores]) -> None:
    with pytest.raises(TrainerError, match=r"target|guardrail"):
        judge(pairs, RULE)


def test_items_needed_gives_the_sample_size_of_the_textbook() -> None:
    # sd 1, distance 0.5, alpha 0.05, power 0.8: (1.645 + 0.842)^2 / 0.25 = 24.7
    assert items_needed(items=5, difference=0.5, variance=1, threshold=0, alpha=0.05) == 25
    assert items_needed(items=5, difference=-0.1, variance=1, threshold=-0.1, alpha=0.05) is None


def _guardrails(count: int) -> list[Measure]:
    return [
        Measure(f"g{i}", "exact", SuiteKind.GUARDRAIL, f"g{i}", True, "share", 0.1)
        for i in range(count)
    ]


def test_an_adapter_harmful_to_every_guardrail_rarely_passes() -> None:
    """All guardrails truly worse by exactly their margin: each passes with alpha/8 at most."""
    random = np.random.default_rng(3)
    passed = 0
    for _ in range(150):
        scores: dict[Measure, Both] = {TARGET: GAIN}
        for measure in _guardrails(8):
            draws = random.choice([1, -1, 0], p=[0.05, 0.15, 0.8], size=120)
            scores[measure] = (
                (draws < 0).astype(float).tolist(),
                (draws > 0).astype(float).tolist(),
            )
        guarded = judge(pairs_of(scores), RULE).guardrails
        passed += any(g.verdict is Verdict.PASS for g in guarded)
    assert passed / 150 <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5


def test_a_harmless_adapter_mostly_passes_with_enough_items() -> None:
    random = np.random.default_rng(4)
    passed = 0
    for _ in range(60):
        scores: dict[Measure, Both] = {TARGET: GAIN}
        for measure in _guardrails(8):
            draws = random.choice([1, -1, 0], p=[0.03, 0.03, 0.94], size=300)
            scores[measure] = (
                (draws < 0).astype(float).tolist(),
                (draws > 0).astype(float).tolist(),
            )
        passed += judge(pairs_of(scores), RULE).verdict is Verdict.PASS
    assert passed / 60 > 0.9
