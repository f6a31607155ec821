"""The alert rules: each is tried, each has a runbook, each reads metrics that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from gateway.metrics import Metrics
from gateway.outcomes import NO_FAILURES
from scripts.docs.figures import ROOT
from scripts.docs.parts import parts
from tests.deploy.promtool import (
    PROMETHEUS,
    RULES,
    UNIT_TESTS,
    Rule,
    alerts,
    promtool,
    read,
    shipped_rules,
)

RUNBOOKS = ROOT / "docs" / "operations" / "runbooks.md"
_SERIES = re.compile(r"\b(gateway_[a-z0-9_]+)\b")


def exposed() -> set[str]:
    """The names of all series that a gateway's /metrics may hold."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    with parts() as made:
        metrics = Metrics()
        metrics.watch(made.plane, made.engine)
        families: list[Metric] = list(metrics.registry.collect())
    return {f.name + suffix for f in families for suffix in suffixes.get(f.type, ("",))}


def test_prometheus_takes_the_shipped_configuration_with_its_rules() -> None:
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert RULES


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: str(path.name))
def test_the_unit_tests_of_the_rules_pass(path: Path) -> None:
    promtool("test", "rules", str(path))


def test_every_alert_is_seen_to_fire_and_not_before() -> None:
    tried: set[str] = set()
    for path in UNIT_TESTS:
        for case in read(path)["tests"]:
            quiet: set[str] | None = None  # alerts of the moments so far, where there was one
            for moment in case["promql_expr_test"]:
                fires = {
                    name
                    for sample in moment.get("exp_samples") or []
                    for name in re.findall(r'alertname="(\w+)"', sample["labels"])
                }
                if quiet is not None:
                    tried |= fires - quiet
                quiet = (quiet or set()) | fires
    assert tried == {rule.name for rule in alerts()}


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule.name))
def test_an_alert_says_what_it_is_how_urgent_and_where_its_runbook_is(rule: Rule) -> None:
    assert rule.annotations.keys() == {"summary", "description", "runbook_url"}
    assert rule.labels["severity"] in {"critical", "warning"}
    page, _, anchor = rule.annotations["runbook_url"].partition("#")
    assert (ROOT / page) == RUNBOOKS
    assert anchor == rule.name.lower()


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule.name))
def test_a_runbook_says_what_it_means_gives_a_first_command_and_when_to_escalate(
    rule: Rule,
) -> None:
    text = RUNBOOKS.read_text(encoding="utf-8")
    found = re.search(rf"^### {rule.name}\n\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"{RUNBOOKS.name} has no runbook {rule.name}"
    meaning, _, steps = found[1].partition("\n1. ")
    assert meaning.strip()
    assert "`" in steps.splitlines()[0], "the first step is a command"
    assert re.search(r"^Escalate when \S", steps, re.MULTILINE)


def test_no_runbook_is_of_an_alert_that_does_not_exist() -> None:
    headings = re.findall(r"^### (Gateway\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule.name for rule in alerts())


@pytest.mark.parametrize("rule", shipped_rules(), ids=lambda rule: str(rule.name))
def test_a_rule_reads_series_that_exist(rule: Rule) -> None:
    known = exposed()
    recorded = {made.name for made in shipped_rules() if not made.alert}
    expr = rule.expr
    for name in recorded:
        expr = expr.replace(name, "")
    assert set(_SERIES.findall(expr)) <= known


def test_the_recording_rule_counts_the_failures_that_the_console_and_watch_count() -> None:
    (rule,) = (made for made in shipped_rules() if made.name.endswith("requests_failed:rate5m"))
    (listed,) = re.findall(r'outcome!~"([^"]+)"', rule.expr)
    assert set(listed.split("|")) == NO_FAILURES
