"""The shipped adapters against the base, from the reports they were published with."""

from __future__ import annotations

import json

from scripts.docs.figures import REGISTRY, number
from scripts.docs.markdown import code, table


def adapters() -> str:
    """The shipped adapters against the base on their tasks."""
    rows = []
    for path in sorted(REGISTRY.glob("*/*/report.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        low, high = report.get("interval_95", (None, None))
        rows.append(
            (
                code(f"{path.parent.parent.name}@{path.parent.name}"),
                report.get("metric", ""),
                report.get("items", ""),
                number(report.get("base")),
                number(report.get("adapter")),
                f"{number(report.get('difference'))} ({number(low)} to {number(high)})",
            )
        )
    head = ("adapter", "metric", "items", "base", "adapter", "difference (95% interval)")
    return table(head, rows)
