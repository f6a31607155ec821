"""The shipped Grafana dashboard as values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scripts.docs.figures import ROOT

GRAFANA = ROOT / "deploy" / "grafana"
PATH = GRAFANA / "dashboards" / "gateway.json"


@dataclass(frozen=True)
class Query:
    """One expression of a panel."""

    panel: str
    expr: str
    row: str

    def filled(self, rate_interval: str) -> str:
        """As Grafana sends it, with all workflows chosen."""
        return self.expr.replace("$__rate_interval", rate_interval).replace("$workflow", ".*")


def panels() -> list[dict[str, Any]]:
    """All panels, rows too, from top to bottom."""
    return list(json.loads(PATH.read_text(encoding="utf-8"))["panels"])


def queries() -> list[Query]:
    """All expressions, in the order of the panels."""
    found, row = [], ""
    for panel in panels():
        if panel["type"] == "row":
            row = panel["title"]
        found += [Query(panel["title"], t["expr"], row) for t in panel.get("targets", ())]
    return found
