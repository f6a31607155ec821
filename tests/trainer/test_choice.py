"""The choice: best target whose guardrails hold, and a reason for each that was passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.gate.evaluations import FACTS, TARGET, pairs_of, right
from trainer.choice import (
    CandidateScore,
    GuardrailPoint,
    choice_to_json,
    choose,
    early_stop,
    pareto_front,
    read_choice,
    score_candidate,
)
from trainer.errors import TrainerError
from trainer.gate.values import GateRule


def _score(
    name: str, gain: float, worst: float, drift: float = 1.0, margin: float = 0.1
) -> CandidateScore:
    points = (
        GuardrailPoint("facts/exact", "facts", "share", worst, margin),
        GuardrailPoint("chat/length", "chat", "share", 0.0, 0.2),
    )
    return CandidateScore(name, gain, points, drift)


PEAK = _score("peak", 0.6, -0.3, drift=4)
GOOD = _score("good", 0.5, -0.1, drift=3)
MILD = _score("mild", 0.3, -0.02, drift=1)


def test_the_targets_peak_is_passed_over_where_it_breaks_a_guardrail() -> None:
    choice = choose([PEAK, GOOD, MILD], TARGET)
    assert (choice.chosen, choice.holds) == ("good", True)
    reasons = {c.score.name: c.reason for c in choice.candidates}
    assert reasons["peak"] == "breaks facts/exact: −30.0 pp, 10.0 pp is allowed"
    assert reasons["mild"] == "gains less (+30.0 pp against +50.0 pp)"


def test_of_equal_gains_the_one_that_drifts_least_is_taken() -> None:
    weaker = _score("weaker", 0.495, -0.05, drift=2)
    choice = choose([GOOD, weaker, MILD], TARGET)
    assert choice.chosen == "weaker"
    assert choice.candidates[0].reason == "gains as much (+50.0 pp) and drifts more"


def test_where_none_holds_the_best_target_goes_to_the_gate() -> None:
    choice = choose([PEAK, _score("less", 0.4, -0.2)], TARGET)
    assert (choice.chosen, choice.holds) == ("peak", False)
    assert "breaks a guardrail" in choice.reason


def test_no_candidate_is_an_error() -> None:
    with pytest.raises(TrainerError, match="no candidate"):
        choose([], TARGET)


def test_the_front_is_what_nothing_beats_on_both_sides() -> None:
    beaten = _score("beaten", 0.4, -0.2)
    twin = _score("twin", GOOD.gain, -0.1)
    assert pareto_front([PEAK, GOOD, MILD, beaten, twin]) == {"peak", "good", "mild", "twin"}


def test_a_guardrail_without_margin_breaks_at_any_loss() -> None:
    assert not _score("x", 1, -0.01, margin=0).holds
    assert _score("x", 1, 0.0, margin=0).holds
    assert _score("x", 1, 0.1, margin=0).worst.in_margins == 0


def test_scores_are_read_from_pairs_with_the_rules_margins() -> None:
    pairs = pairs_of({TARGET: (right(2, 10), right(7, 10)), FACTS: (right(6, 10), right(4, 10))})
    score = score_candidate("c", pairs, GateRule(), drift=2.0)
    assert score.gain == pytest.approx(0.5)
    assert not score.holds
    loose = score_candidate("c", pairs, GateRule(margins={"facts/exact": 0.2}), drift=2.0)
    assert loose.holds  # stands on the limit, in spite of 0.4 - 0.6 < -0.2 in floating point
    with pytest.raises(TrainerError, match="guardrail"):
        score_candidate("c", pairs[:1], GateRule(), drift=1)
    with pytest.raises(TrainerError, match="primary target"):
        score_candidate("c", pairs[1:], GateRule(), drift=1)


@pytest.mark.parametrize(
    ("gains", "stops"),
    [
        ([0.1, 0.2, 0.3], False),
        ([0.1, 0.3, 0.2], False),
        ([0.1, 0.3, 0.2, 0.3], True),
        ([0.3, 0.2, 0.4, 0.1], False),
        ([], False),
    ],
)
def test_training_ends_when_the_target_has_not_risen_for_patience_checkpoints(
    gains: list[float], stops: bool
) -> None:
    assert early_stop([_score(str(g), g, 0.0) for g in gains], 2) is stops


def test_a_rising_target_that_breaks_guardrails_counts_as_no_better() -> None:
    assert early_stop([MILD, _score("a", 0.5, -0.3), _score("b", 0.6, -0.3)], 2)


def test_a_choice_comes_back_as_it_was(tmp_path: Path) -> None:
    choice = choose([PEAK, GOOD, MILD], TARGET)
    (tmp_path / "choice.json").write_text(choice_to_json(choice))
    assert read_choice(tmp_path / "choice.json") == choice
    (tmp_path / "choice.json").write_text("[]")
    with pytest.raises(TrainerError, match="no choice"):
        read_choice(tmp_path / "choice.json")
