"""The dashboard's file: its expressions parse, its panels lie side by side, its source is there."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import yaml

from tests.deploy.dashboard import GRAFANA, PATH, panels, queries
from tests.deploy.promtool import check_expressions
from tests.deploy.test_rules import exposed


def test_every_expression_is_promql(tmp_path: Path) -> None:
    check_expressions(
        {f"{query.panel} {n}": query.filled("5m") for n, query in enumerate(queries())}, tmp_path
    )


def test_every_query_reads_series_that_exist() -> None:
    known = exposed()
    for query in queries():
        if ":" not in query.expr:  # recorded ones are the rules' own
            assert set(re.findall(r"\b(gateway_[a-z0-9_]+)\b", query.expr)) <= known, query


def test_panels_have_names_of_their_own_and_do_not_overlap() -> None:
    placed = [(panel["title"], panel["gridPos"]) for panel in panels()]
    assert len({name for name, _ in placed}) == len(placed)
    assert len({panel["id"] for panel in panels()}) == len(placed)
    for (one, a), (other, b) in itertools.combinations(placed, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one} and {other} overlap"


def test_the_provisioned_source_is_the_one_that_the_dashboard_asks() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    (variable,) = (
        each
        for each in json.loads(PATH.read_text())["templating"]["list"]
        if each["type"] == "datasource"
    )
    assert [s["uid"] for s in provisioned["datasources"]] == [variable["current"]["value"]]
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
