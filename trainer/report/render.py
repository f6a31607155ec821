"""A gathered run as HTML, Markdown and JSON. Pure but for the templates beside it.

Every text that a model, a data file or a suite wrote is escaped: in HTML by the templates, in
Markdown by `words.markdown` and fences that it cannot close.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trainer.evals.values import SuiteKind
from trainer.gate.judge import margin_of
from trainer.gate.units import change, minus
from trainer.gate.values import GateVerdict, MeasureVerdict
from trainer.report import words
from trainer.report.charts import candidates_chart, guardrails_chart, training_chart
from trainer.report.values import RunReport


def to_html(report: RunReport) -> str:
    """One page that needs nothing else."""
    return (
        environment(html=True)
        .get_template("report.html.j2")
        .render(
            **_context(report),
            charts={
                "candidates": Markup(candidates_chart(report.choice)),
                "guardrails": Markup(guardrails_chart(report.gate)),
                "training": Markup(training_chart(report.steps)),
            },
        )
    )


def to_markdown(report: RunReport) -> str:
    """The same without charts."""
    return environment(html=False).get_template("report.md.j2").render(**_context(report))


def to_json(report: RunReport) -> str:
    """The whole of it for machines; numbers that JSON lacks are null."""
    return json.dumps(finite(asdict(report)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def environment(*, html: bool) -> Environment:
    """Templates; `html` escapes everything that is not marked as markup."""
    found = Environment(
        loader=PackageLoader("trainer.report"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"md": words.markdown, "percent": lambda share: f"{100 * share:.1f}%"}
    found.globals |= {"fence": words.fence, "change": change, "minus": minus}
    return found


def rows(verdicts: Sequence[MeasureVerdict], gate: GateVerdict) -> list[Mapping[str, Any]]:
    """Table rows: the judged measures first, worst first."""

    def order(v: MeasureVerdict) -> tuple[bool, float]:
        return not v.measure.primary, v.low / (margin_of(v.measure, gate.rule) or 1.0)

    return [
        {**words.figures(v, margin_of(v.measure, gate.rule)), "primary": v.measure.primary}
        for v in sorted(verdicts, key=order)
    ]


def finite(value: Any) -> Any:
    """`value` with None for numbers that are not finite, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value


def _context(report: RunReport) -> dict[str, Any]:
    gate = report.gate
    made = {candidate.name: candidate for candidate in report.candidates}
    target = words.target_of(gate)
    judged = [v for v in gate.guardrails if v.measure.primary]
    return {
        "report": report,
        "gate": gate,
        "choice": report.choice,
        "headline": words.HEADLINES[gate.verdict],
        "mark": words.MARKS[gate.verdict],
        "lead": words.lead(gate, report.choice),
        "target": words.figures(target, 0.0),
        "targets": rows(gate.target, gate),
        "guardrails": rows(gate.guardrails, gate),
        "judged": len(judged),
        "held": sum(v.verdict.value == "pass" for v in judged),
        "candidates": [
            {
                "number": number,
                "considered": considered,
                "made": made.get(considered.score.name),
                "chosen": considered.score.name == report.choice.chosen,
            }
            for number, considered in enumerate(report.choice.candidates, 1)
        ],
        "unit": report.choice.unit,
        "guardrail_changes": [c for c in report.changes if c.kind is SuiteKind.GUARDRAIL],
        "target_changes": [c for c in report.changes if c.kind is SuiteKind.TARGET],
        "parts": report.manifest.get("parts", []),
    }
