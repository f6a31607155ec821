"""Suites become probes whose rules judge as the suites' own checks do."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from typer.testing import CliRunner

from gateway.guard.detectors import Answered, detector
from gateway.guard.values import CheckRule
from gateway.probes.reading import Line, read_set
from trainer.cli import app
from trainer.errors import SuiteError
from trainer.evals.checks import CHECKS
from trainer.evals.checks.base import Answered as Said
from trainer.evals.checks.base import Check, Observation
from trainer.evals.checks.text import Contains, Regex
from trainer.evals.suite import GUARDRAILS, read_suite
from trainer.evals.values import Item
from trainer.probes.export import probe_lines, rule_of

ITEM = Item("i", prompt="p", expected="a.b|^c$")
TEXTS = st.text(st.sampled_from("aAbBcC. \n-"), max_size=8)


def bad(check: Check, item: Item, text: str) -> float | None:
    """What the gateway's guard scores `text`, by the rule of `check`."""
    rule = rule_of(check)
    assert rule is not None
    judged = Line(suite="s", id="i", prompt="p", **rule(item)).probe().judged
    assert isinstance(judged, CheckRule)
    return detector(judged, None)(Answered(text, "ok"))


@given(TEXTS, st.booleans(), st.booleans())
def test_a_pattern_judges_as_the_suites(text: str, whole: bool, ignore_case: bool) -> None:
    check = Regex(whole=whole, ignore_case=ignore_case)
    good = check.score(Observation(ITEM, Said(text, "stop")))
    assert bad(check, ITEM, text) == 1 - good


@given(TEXTS, st.booleans())
def test_an_expected_text_judges_as_the_suites(text: str, ignore_case: bool) -> None:
    item = Item("i", prompt="p", expected=["a.b", "-c"])
    check = Contains(ignore_case=ignore_case)
    good = check.score(Observation(item, Said(text, "stop")))
    assert bad(check, item, text) == 1 - good


def test_a_probability_is_taken_over_the_suites_choices() -> None:
    (line, *_) = probe_lines([read_suite(GUARDRAILS / "facts")])
    (item, *_) = read_suite(GUARDRAILS / "facts").items
    assert (line.prompt, line.choices, line.right) == (item.prompt, item.choices, item.gold)


def test_a_suite_with_several_checks_is_a_suite_for_each() -> None:
    names = {line.suite for line in probe_lines([read_suite(GUARDRAILS / "chat")])}
    assert names == {"chat-format-overuse", "chat-repetition"}


def test_a_suite_that_only_the_trainer_can_score_is_refused_by_name() -> None:
    with pytest.raises(SuiteError, match=r"prose .* only perplexity"):
        probe_lines([read_suite(GUARDRAILS / "prose")])


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_check_has_a_rule_or_is_known_to_have_none(name: str) -> None:
    without = {
        "exact_match", "json_fields", "kl", "label", "label_collapse", "length", "perplexity",
        "refusal",
    }  # fmt: skip
    params = {"labels": ["a", "b"]} if name in ("label", "label_collapse") else {}
    assert (rule_of(CHECKS[name].model_validate(params)) is None) == (name in without)


def test_the_command_writes_a_set_and_names_what_is_left_out(tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    suites = [f"--suite={GUARDRAILS / name}" for name in ("facts", "prose")]
    result = CliRunner().invoke(app, ["probes", str(out), *suites])
    assert result.exit_code == 0, result.output
    assert "prose: left out" in result.output
    assert set(read_set(out, "mine").suites) == {"facts"}
    refused = CliRunner().invoke(app, ["probes", str(tmp_path / "mine.json")])
    assert refused.exit_code == 2
