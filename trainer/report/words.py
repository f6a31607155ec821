"""Numbers and verdicts in words, the same in HTML, in Markdown and at the terminal. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trainer.choice import Choice
from trainer.evals.values import Measure
from trainer.gate.judge import margin_of
from trainer.gate.units import amount, change, number, p_text
from trainer.gate.values import GateVerdict, MeasureVerdict, Verdict

MARKS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.UNDECIDED: "?"}
HEADLINES = {
    Verdict.PASS: "Passed: this adapter may be approved",
    Verdict.FAIL: "Failed: do not serve this adapter",
    Verdict.UNDECIDED: "Undecided: too few items to tell, which is not a pass",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#|~!&+-])")


def unit_of(measure: Measure) -> str:
    """The unit to put behind `change`; "" where that says it."""
    return "" if measure.unit == "share" else measure.unit


def target_of(gate: GateVerdict) -> MeasureVerdict:
    """The target measure that is judged."""
    return next(v for v in gate.target if v.measure.primary)


def lead(gate: GateVerdict, choice: Choice) -> str:
    """Two or three sentences that a person can decide by."""
    target = target_of(gate)
    judged = [v for v in gate.guardrails if v.measure.primary]
    held = [v for v in judged if v.verdict is Verdict.PASS]
    failed = [v for v in judged if v.verdict is Verdict.FAIL]
    m = target.measure
    sentences = [
        f"{m.name} goes from {number(target.base, m.unit)} to {number(target.adapter, m.unit)} "
        f"({change(target.difference, m.unit)}{_space(unit_of(m))}, at least "
        f"{change(target.low, m.unit)} with {target.confidence:.0%} confidence)."
    ]
    guarded = f"{len(held)} of {len(judged)} guardrails hold"
    if failed:
        worst = min(failed, key=lambda v: v.difference / (margin_of(v.measure, gate.rule) or 1))
        w = worst.measure
        guarded += (
            f"; {len(failed)} {'is' if len(failed) == 1 else 'are'} broken, worst {w.name} "
            f"({change(worst.difference, w.unit)}{_space(unit_of(w))}, "
            f"{amount(margin_of(w, gate.rule), w.unit)} allowed)"
        )
    elif len(held) < len(judged):
        most = max((v.items_needed or 0) for v in judged if v.verdict is Verdict.UNDECIDED)
        guarded += f"; the others have too few items{f' (up to {most} needed)' if most else ''}"
    sentences.append(f"{guarded}.")
    if not choice.holds:
        sentences.append(
            "No candidate of this run holds every guardrail; train less, or with more anchors."
        )
    return " ".join(sentences)


def markdown(text: Any) -> str:
    """`text` as one line of plain Markdown: nothing in it is markup, a table cell holds it."""
    return _MARKDOWN.sub(r"\\\1", str(text).replace("\r", "").replace("\n", " ⏎ "))


def fence(text: str) -> str:
    """A code fence that nothing in `text` closes."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    return "`" * max(3, longest + 1)


def figures(verdict: MeasureVerdict, margin: float) -> Mapping[str, str]:
    """A measure's row in tables."""
    m = verdict.measure
    return {
        "measure": m.name,
        "family": m.family,
        "unit": unit_of(m),
        "base": number(verdict.base, m.unit),
        "adapter": number(verdict.adapter, m.unit),
        "difference": change(verdict.difference, m.unit),
        "interval": f"{change(verdict.low, m.unit)} … {change(verdict.high, m.unit)}",
        "margin": change(-margin, m.unit) if margin else "",
        "items": str(verdict.items),
        "confidence": f"{verdict.confidence:.2%}",
        "method": verdict.method,
        "p": p_text(verdict.p_value),
        "mark": MARKS[verdict.verdict],
        "verdict": verdict.verdict.value,
        "reason": verdict.reason,
    }


def _space(text: str) -> str:
    return f" {text}" if text else ""
