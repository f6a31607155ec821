"""Each detector tells its fault from what is well, on texts of the kind that models write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.guard.detectors import Answered, detector, label_detector
from gateway.guard.values import CheckKind, CheckRule

PROSE = (
    "Prometheus is a monitoring system with a time series database. It collects metrics from "
    "targets at given intervals, evaluates rules, shows the results, and can raise alerts when "
    "a condition is seen to be true. Each sample has a timestamp and a value."
)
LIST = "\n".join(
    f"{i}. Step {i}: check that item {i} is there and note what it says." for i in range(12)
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
PATTERNS = {
    "properties": {"a": {"pattern": "^x+$"}},
    "patternProperties": {"^n[0-9]": {"type": "integer"}},
    "additionalProperties": False,
}
LABELS = CheckRule(CheckKind.LABELS, labels=("net", "web"))
REGEX = CheckRule(CheckKind.REGEX, pattern=r"[A-Z]{2}-\d+")
LENGTH = CheckRule(CheckKind.LENGTH, min_chars=2, max_chars=5)
LATIN = CheckRule(CheckKind.SCRIPT, scripts=("LATIN",))
FORMAT = CheckRule(CheckKind.FORMAT, labels=("net",))
LOOP = CheckRule(CheckKind.REPETITION)
REFUSAL = CheckRule(CheckKind.REFUSAL)


@pytest.mark.parametrize(
    ("check", "text", "score"),
    [
        (CheckRule(CheckKind.SCHEMA), '{"a": 1}', 0),
        (CheckRule(CheckKind.SCHEMA), '{"a": "x"}', 1),
        (CheckRule(CheckKind.SCHEMA), '{"a": 1', 1),
        (CheckRule(CheckKind.SCHEMA), "[" * 100_000, 1),
        (CheckRule(CheckKind.SCHEMA, schema={"type": "array"}), "[]", 0),
        (LABELS, " web\n", 0),
        (LABELS, "Web.", 1),
        (CheckRule(CheckKind.SCHEMA, schema=PATTERNS), '{"a": "xx", "n1": 1}', 0),
        (CheckRule(CheckKind.SCHEMA, schema=PATTERNS), '{"a": "b"}', 1),
        (CheckRule(CheckKind.SCHEMA, schema=PATTERNS), '{"n1": "b"}', 1),
        (CheckRule(CheckKind.SCHEMA, schema=PATTERNS), '{"b": 1}', 1),
        (REGEX, "AB-12", 0),
        (REGEX, "AB-12 and more", 1),
        (LENGTH, "abc", 0),
        (LENGTH, "a", 1),
        (LENGTH, "abcdef", 1),
        (CheckRule(CheckKind.EMPTY), " \n", 1),
        (CheckRule(CheckKind.EMPTY), "a", 0),
        (LOOP, PROSE, 0),
        (LOOP, LIST, 0),
        (LOOP, "No.", 0),
        (LOOP, "-" * 80, 0),
        (LOOP, "Well, " + "I do not know what to " * 30, 1),
        (LOOP, "The answer is netnetnet" + "net" * 40, 1),
        (REFUSAL, "I'm sorry, but that is not something for me.", 1),
        (REFUSAL, "I can’t help with that.", 1),
        (REFUSAL, "As an AI language model, I have no view.", 1),
        (REFUSAL, PROSE, 0),
        (REFUSAL, "You can help by writing tests.", 0),
        (LATIN, PROSE, 0),
        (LATIN, "Éàü, ça va?", 0),
        (LATIN, "日本語です", 1),
        (LATIN, "1234 !?", 0),
        (LATIN, "abяб", 0.5),
        (FORMAT, PROSE, 0),
        (FORMAT, "net", 1),
        (FORMAT, '{"package": "x", "version": "1", "size": 3}', 1),
        (FORMAT, "web server", 1),
        (FORMAT, "It is Paris.", 0),
    ],
)
def test_a_text_gets_its_score(check: CheckRule, text: str, score: float) -> None:
    assert detector(check, SCHEMA)(Answered(text, "ok")) == score


def of(kind: CheckKind, limit_s: float | None = None) -> CheckRule:
    return CheckRule(kind, limit_s=limit_s)


@pytest.mark.parametrize(
    ("check", "seen", "score"),
    [
        (of(CheckKind.CUT), Answered("a", "ok", "length"), 1),
        (of(CheckKind.CUT), Answered("a", "ok", "stop"), 0),
        (of(CheckKind.CUT), Answered("a", "cancelled"), None),
        (of(CheckKind.ERRORS), Answered("", "engine_error"), 1),
        (of(CheckKind.ERRORS), Answered("", "queue_full"), 0),
        (of(CheckKind.ERRORS), Answered("a", "ok"), 0),
        (of(CheckKind.CANCELLED), Answered("", "cancelled"), 1),
        (of(CheckKind.FIRST_TOKEN, 1.0), Answered("", "cancelled", first_token_s=2.0), 1),
        (of(CheckKind.FIRST_TOKEN, 1.0), Answered("a", "ok", first_token_s=0.5), 0),
        (of(CheckKind.FIRST_TOKEN, 1.0), Answered("", "engine_error"), None),
        (of(CheckKind.BETWEEN_TOKENS, 0.1), Answered("a", "ok", between_tokens_s=0.2), 1),
        (of(CheckKind.EMPTY), Answered("", "engine_error"), None),
    ],
)
def test_serving_gets_its_score(check: CheckRule, seen: Answered, score: float | None) -> None:
    assert detector(check, None)(seen) == score


def test_collapse_counts_labels_alone() -> None:
    detect = label_detector("net", ("net", "web"))
    assert [detect(Answered(t, "ok")) for t in ("net", "web", "chatter")] == [1, 0, None]


@pytest.mark.parametrize(
    "check",
    [CheckRule(CheckKind.SCHEMA), LABELS, REGEX, LENGTH, LATIN, FORMAT, LOOP, REFUSAL],
    ids=lambda check: check.kind,
)
@given(text=st.text(max_size=300))
def test_any_text_gets_a_score_between_0_and_1(check: CheckRule, text: str) -> None:
    score = detector(check, SCHEMA)(Answered(text, "ok"))
    assert score is not None
    assert 0 <= score <= 1


@pytest.mark.parametrize(
    "check",
    [
        CheckRule(CheckKind.REGEX, pattern="(a|aa)+c"),
        CheckRule(CheckKind.SCHEMA, schema={"pattern": "^(a|aa)+c$"}),
        CheckRule(CheckKind.SCHEMA, schema={"patternProperties": {"^(a|aa)+c$": True}}),
        CheckRule(
            CheckKind.SCHEMA,
            schema={"patternProperties": {"^(a|aa)+c$": True}, "additionalProperties": False},
        ),
    ],
)
def test_a_pattern_that_would_take_for_ever_ends_and_does_not_count(
    check: CheckRule, caplog: pytest.LogCaptureFixture
) -> None:
    text = "a" * 100 + "b"
    said = text if check.kind is CheckKind.REGEX else f'"{text}"'
    if check.schema is not None and "patternProperties" in check.schema:
        said = f'{{"{text}": 1}}'
    assert detector(check, None)(Answered(said, "ok")) is None
    assert "without nested repeats" in caplog.text
