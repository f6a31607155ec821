"""The shipped adapters against the base, from the reports they were published with."""

from __future__ import annotations

import json
from typing import Any

from scripts.docs.figures import REGISTRY, number
from scripts.docs.markdown import code, table


def adapters() -> str:
    """The shipped adapters against the base on their tasks, and what their gates said."""
    rows = []
    for path in sorted(REGISTRY.glob("*/*/report.json")):
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        gate = report.get("gate")
        if gate is None:
            continue
        target = gate["target"][0]
        guardrails = [each for each in gate["guardrails"] if each["measure"]["primary"]]
        held = sum(each["verdict"] == "pass" for each in guardrails)
        rows.append(
            (
                code(f"{path.parent.parent.name}@{path.parent.name}"),
                f"{target['measure']['suite']}/{target['measure']['check']}",
                target["items"],
                number(target["base"]),
                number(target["adapter"]),
                f"{number(target['difference'])} ({number(target['low'])} to "
                f"{number(target['high'])})",
                f"{held} of {len(guardrails)} hold",
                gate["verdict"],
            )
        )
    head = (
        "adapter",
        "target",
        "items",
        "base",
        "adapter",
        "difference (interval)",
        "guardrails",
        "gate",
    )
    return table(head, rows)
