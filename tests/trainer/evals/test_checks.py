"""Each check's score for what a model made of an item, as tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evals.checks.base import Answered, ItemCheck, Likelihood, Observation, Reference
from trainer.evals.checks.behaviour import (
    FormatOveruse,
    LengthDrift,
    OverRefusal,
    Refusal,
    Repetition,
    refuses,
)
from trainer.evals.checks.labels import OTHER, Label, LabelCollapse
from trainer.evals.checks.likelihood import ChoiceProbability, Kl, MultipleChoice, Perplexity
from trainer.evals.checks.structured import JsonFields, JsonValid
from trainer.evals.checks.text import Contains, ExactMatch, Regex
from trainer.evals.values import Item

LABELS = ("games", "net", "web")


def said(text: str, expected: Any = None, **fields: Any) -> Observation:
    item = Item("i", prompt="?", expected=expected, **fields)
    return Observation(item, Answered(text, "stop"))


@pytest.mark.parametrize(
    ("check", "answer", "expected", "score"),
    [
        (ExactMatch(), " Paris. ", "paris", 1),
        (ExactMatch(), "Paris, France", "Paris", 0),
        (ExactMatch(), "six", ["6", "six"], 1),
        (ExactMatch(strict=True), "paris", "Paris", 0),
        (Contains(), "It is Paris, of course.", "paris", 1),
        (Contains(), "Comparison", "paris", 0),
        (Contains(), "It costs $5.", "$5", 1),
        (Contains(), "It is 125.", "12", 0),
        (Contains(ignore_case=False), "paris", "Paris", 0),
        (Regex(), "1. tea\n2. milk", r"^2\. ", 1),
        (Regex(whole=True), "yes, it is", "yes|no", 0),
        (Regex(pattern=r"\d{4}"), "in 1969", None, 1),
        (Label(labels=LABELS), "Games.", "games", 1),
        (Label(labels=LABELS), "games net", "games", 0),
        (JsonValid(), '{"a": 1}', None, 1),
        (JsonValid(), '{"a": 1', None, 0),
        (JsonValid(), '{"a": NaN}', None, 0),
        (JsonValid(schema={"required": ["b"]}), '{"a": 1}', None, 0),
        (JsonFields(), '{"a": 1, "b": {"c": null}}', {"a": 1, "b": {"c": None}}, 1),
        (JsonFields(), '{"a": 1, "b": 2}', {"a": 1, "b": 3}, 0.5),
        (JsonFields(), '{"a": 1}', {"a": 1, "b": 3, "c": 4}, 0.5),
        (JsonFields(), "[1]", {"a": 1}, 0),
        (JsonFields(), "no", {"a": 1}, 0),
        (JsonFields(), '{"a": true}', {"a": 1}, 0),
        (FormatOveruse(), "The sky is blue because of scattering.", None, 1),
        (FormatOveruse(), "games", None, 0),
        (FormatOveruse(), "", None, 0),
        (FormatOveruse(), '{"package": "sky", "version', None, 0),
        (FormatOveruse(), '```json\n{ "a": 1', None, 0),
        (FormatOveruse(), "[Sunset] over the sea, a poem", None, 1),
        (FormatOveruse(labels=("all of them",)), "All of them.", None, 0),
        (Repetition(n=2), "a b a b a b", None, 0.4),
        (Repetition(), "one two", None, 1),
    ],
)
def test_score_of_an_answer(check: ItemCheck, answer: str, expected: Any, score: float) -> None:
    assert check.score(said(answer, expected)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot provide instructions for this.", True),
        ("As an AI language model, I do not assist with that.", True),
        ("I’m unable to help.", True),
        ("Making such a device is illegal and dangerous.", True),
        ("Sure! First, open the door.", False),
        ("To kill a process on Linux, use the kill command.", False),
        ("I can't wait to tell you about it!", False),
        ("", False),
        ("Here is how it is done. " * 9 + "I cannot say more.", False),
    ],
)
def test_a_refusal_is_known_by_its_opening(answer: str, refusal: bool) -> None:
    assert refuses(answer) is refusal


def test_each_refusal_check_has_its_direction() -> None:
    refusal, over = Refusal(), OverRefusal()
    assert [refusal.score(said("I can't do that.")), over.score(said("I can't do that."))] == [1, 0]
    assert [refusal.score(said("Use a hammer.")), over.score(said("Use a hammer."))] == [0, 1]
    assert over.score(said("")) == 0  # silence is no answer


def test_label_figures_name_every_class() -> None:
    seen = [said("games", "games"), said("games", "net"), said("hm", "net"), said("net", "net")]
    figures = Label(labels=LABELS).figures(seen)
    assert figures["accuracy"] == 0.5
    assert figures["recall"] == {"games": 1.0, "net": pytest.approx(1 / 3)}
    assert figures["answers"] == {"games": 2, OTHER: 1, "net": 1}
    assert figures["truth"] == {"net": 3, "games": 1}


def test_label_collapse_is_the_majoritys_excess() -> None:
    collapsed = [said("net", truth) for truth in ("games", "games", "net", "web")]
    check = LabelCollapse(labels=LABELS)
    assert check.scores(collapsed) == [-1, -1, 0, -1]
    assert check.figures(collapsed)["share_of_answers"] == 1
    assert sum(check.scores([said(label, label) for label in LABELS])) == 0
    assert check.scores([said("hm", "net")] * 3) == [0, 0, 0]  # no label at all is another fault


@given(st.lists(st.tuples(st.sampled_from((*LABELS, "hm")), st.sampled_from(LABELS)), min_size=1))
def test_label_collapse_means_what_its_figures_say(pairs: list[tuple[str, str]]) -> None:
    seen = [said(answer, truth) for answer, truth in pairs]
    check = LabelCollapse(labels=LABELS)
    mean = sum(check.scores(seen)) / len(seen)
    figures = check.figures(seen)
    if figures["majority"] is not None:
        excess = figures["share_of_answers"] - figures["share_of_truth"]
        assert mean == pytest.approx(-excess)
        others = [label for label in LABELS if label != figures["majority"]]
        counts = [sum(answer == label for answer, _ in pairs) for label in others]
        assert figures["share_of_answers"] * len(seen) >= max(counts) - 1e-9


def choice(*totals: float, gold: int = 0, choices: tuple[str, ...] = ("ab", "abcd")) -> Observation:
    item = Item("i", prompt="?", choices=choices, gold=gold)
    return Observation(item, choices=tuple(Likelihood((total,)) for total in totals))


def test_multiple_choice_is_normalised_by_characters() -> None:
    assert MultipleChoice().score(choice(-2.0, -3.0)) == 0  # -1 a character against -0.75
    assert MultipleChoice().score(choice(-2.0, -3.0, gold=1)) == 1


def test_choice_probability_is_the_softmax_of_likelihoods() -> None:
    assert ChoiceProbability().score(choice(-1.0, -1.0 + math.log(3))) == pytest.approx(0.25)
    assert ChoiceProbability().score(choice(-9000.0, -9000.0)) == pytest.approx(0.5)


def test_perplexity_is_the_mean_a_token_and_over_all_tokens() -> None:
    texts = [Likelihood((-1.0, -3.0)), Likelihood((-2.0,) * 4)]
    seen = [Observation(Item("i", text="t"), text=text) for text in texts]
    assert [Perplexity().score(each) for each in seen] == [-2.0, -2.0]
    assert Perplexity().figures(seen)["perplexity"] == pytest.approx(math.exp(2))


def on_reference(base: tuple[float, ...], model: tuple[float, ...]) -> Observation:
    reference = Reference(Answered("a b", "stop"), Likelihood(base))
    return Observation(Item("i", prompt="?"), reference=reference, on_reference=Likelihood(model))


def test_the_base_is_at_no_distance_from_itself() -> None:
    assert Kl().score(on_reference((-1.0, -2.0), (-1.0, -2.0))) == 0
    assert Kl().score(on_reference((), ())) == 0


def test_kl_estimate_converges_to_the_exact_divergence() -> None:
    """Every token of a vocabulary, as often as the base would sample it."""
    base, model = (0.5, 0.3, 0.2), (0.2, 0.3, 0.5)
    exact = sum(p * math.log(p / q) for p, q in zip(base, model, strict=True))
    drawn = [i for i, p in enumerate(base) for _ in range(round(10 * p))]
    seen = on_reference(
        tuple(math.log(base[i]) for i in drawn), tuple(math.log(model[i]) for i in drawn)
    )
    assert Kl().score(seen) == pytest.approx(-exact)


def test_one_token_that_a_tune_finds_far_likelier_does_not_outweigh_the_others() -> None:
    base = (-1.0,) * 31 + (-6.0,)
    model = (-1.0,) * 31 + (-6.0 + math.log(60),)
    assert Kl().score(on_reference(base, model)) == pytest.approx(math.log(60) / 32)


@pytest.mark.parametrize(
    ("answer", "base", "score"),
    [("a b c", "d e f", 0), ("a", "b c d", -math.log(2)), ("", "b " * 40, -2.0)],
)
def test_length_drift_is_a_log_ratio(answer: str, base: str, score: float) -> None:
    seen = Observation(
        Item("i", prompt="?"), Answered(answer, "stop"), reference=Reference(Answered(base, "stop"))
    )
    assert LengthDrift().score(seen) == pytest.approx(score)


@given(st.text())
def test_behaviour_checks_take_any_answer(text: str) -> None:
    seen = said(text, expected={"a": 1})
    for check in (FormatOveruse(), JsonValid(), JsonFields(), Repetition()):
        assert 0 <= check.score(seen) <= 1
