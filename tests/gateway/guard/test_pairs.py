"""What it means that two answers to one request agree, and what a pair proves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.guard import sequential as seq
from gateway.guard.detectors import Answered, Pair
from gateway.guard.pairs import Form, agreement, form_of
from gateway.guard.panel import Panel
from gateway.guard.values import CheckKind, CheckRule, GuardRule, Reference
from gateway.routing.table import BASE_TARGET, Route

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("form", "one", "other", "expected"),
    [
        (Form.TEXT, "a b", " a b\n", 1.0),
        (Form.TEXT, "a b", "a  b", 0.0),
        (Form.LABEL, "Net.", "net", 1.0),
        (Form.LABEL, "net", "web", 0.0),
        (Form.LABEL, "...", "?", 0.0),
        (Form.JSON, '{"a": 1, "b": 2}', '{"b":2,"a":1}', 1.0),
        (Form.JSON, '{"a": 1, "b": 2}', '{"a": 1, "b": 3}', 0.5),
        (Form.JSON, '{"a": 1}', '{"a": 1, "b": [1, 2]}', 0.5),
        (Form.JSON, '{"a": 1}', '{"a": true}', 0.0),
        (Form.JSON, '{"a": 1}', "no JSON", 0.0),
        (Form.JSON, "cut {", "cut {", 1.0),
        (Form.JSON, "[" * 20_000, "]", 0.0),
    ],
)
def test_two_answers_agree_as_their_form_says(
    form: Form, one: str, other: str, expected: float
) -> None:
    assert agreement(one, other, form) == pytest.approx(expected)
    assert agreement(other, one, form) == pytest.approx(expected)


@given(JSON, JSON)
def test_agreement_of_any_json_is_a_share_and_whole_for_the_same(
    one: object, other: object
) -> None:
    texts = [json.dumps(value) for value in (one, other)]
    assert 0 <= agreement(texts[0], texts[1], Form.JSON) <= 1
    assert agreement(texts[0], texts[0] + " ", Form.JSON) == 1


def test_a_routes_form_follows_from_its_schema_and_its_guard() -> None:
    def guarded(*kinds: CheckKind) -> Route:
        return Route("w", BASE_TARGET, guard=GuardRule(tuple(CheckRule(kind) for kind in kinds)))

    assert form_of(Route("w", BASE_TARGET)) is Form.TEXT
    assert form_of(Route("w", BASE_TARGET, response_schema={})) is Form.JSON
    assert form_of(guarded(CheckKind.EMPTY)) is Form.TEXT
    assert form_of(guarded(CheckKind.COLLAPSE)) is Form.LABEL
    assert form_of(guarded(CheckKind.LABELS, CheckKind.SCHEMA)) is Form.JSON


PAIRED = GuardRule(
    (
        CheckRule(
            CheckKind.LABELS, tolerance=0.05, labels=("net", "web"), compared=Reference.SHADOW
        ),
    ),
    alpha=0.05,
)


def pair(one: str, other: str) -> Pair:
    return Pair(Answered(one, "ok"), Answered(other, "ok"))


def test_a_paired_check_takes_pairs_alone() -> None:
    panel = Panel(PAIRED, None)
    assert panel.score(Answered("?", "ok")) == [None]
    assert panel.score(pair("?", "net")) == [1.0]
    assert panel.score(pair("net", "net")) == panel.score(pair("?", "?")) == [0.5]
    assert panel.score(Pair(Answered("", "engine_error"), Answered("net", "ok"))) == [None]


def test_a_target_worse_than_its_shadow_trips_and_says_by_how_much() -> None:
    panel = Panel(PAIRED, None)
    rng = np.random.default_rng(3)
    for at in range(400):
        bad = rng.random() < 0.4
        found = panel.take(panel.score(pair("?" if bad else "net", "web")))
        if found:
            assert found[0].rate == pytest.approx(0.4, abs=0.25)
            assert "on" in str(found[0])
            assert f"{found[0].rate:+.1%} against the shadow's, allowed are +5.0%" in str(found[0])
            assert at < 200
            return
    raise AssertionError("it never tripped")


@pytest.mark.parametrize("drifting", [False, True])
def test_a_healthy_target_is_rarely_ever_tripped_however_the_two_drift(drifting: bool) -> None:
    """Both sides' bad rates wander together, up to nearly all bad; the difference stays allowed."""
    runs, length, alpha, tolerance = 2000, 3000, 0.05, 0.05
    rng = np.random.default_rng(7)
    rates = 0.5 + 0.45 * np.sin(np.arange(length) / 90) if drifting else np.full(length, 0.3)
    bound = np.full(runs, seq.difference_bound(tolerance))
    stake, wealth = seq.stakes(bound), np.zeros((runs, seq.STAKES))
    tripped = np.zeros(runs, dtype=bool)
    for at in range(length):
        shadow = rng.random(runs) < rates[at]
        # Where the shadow is good the target is bad as often as the tolerance allows at all.
        often = min(1.0, tolerance / (1 - rates[at]))
        target = np.where(shadow, True, rng.random(runs) < often)
        score = seq.difference_score(target, shadow)
        wealth = seq.advance(wealth, at, 1, seq.growth(stake, bound, score))
        tripped |= seq.e_value(wealth, at + 1) >= 1 / alpha
    assert 0 < tripped.mean() <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)
