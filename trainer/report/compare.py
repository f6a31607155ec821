"""Two runs or registered adapters side by side: each against the base, and against each other."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.errors import BadInput
from gateway.routing.table import AdapterRef
from trainer.errors import TrainerError
from trainer.evals.values import Evaluation, Measure
from trainer.folder import RunFolder
from trainer.gate.codec import read_verdict
from trainer.gate.judge import Comparison, compare, margin_of
from trainer.gate.pairing import pair
from trainer.gate.units import change, number
from trainer.gate.values import GateVerdict, MeasureVerdict
from trainer.report import words
from trainer.report.gather import gate_evaluations
from trainer.report.render import environment


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. `evaluation` is the adapter's, on the gate split; None where only its
    verdict is kept (a registered adapter)."""

    name: str
    gate: GateVerdict
    recipe: str
    evaluation: Evaluation | None


@dataclass(frozen=True, slots=True)
class Row:
    """One measure on both sides. `between` is B minus A on the same items, bounded at the gate's
    alpha; None where the items are not known to be the same."""

    measure: Measure
    margin: float
    a: MeasureVerdict | None
    b: MeasureVerdict | None
    between: Comparison | None


@dataclass(frozen=True, slots=True)
class SideBySide:
    a: Side
    b: Side
    rows: tuple[Row, ...]
    recipe_changes: tuple[str, ...]  # lines of a unified diff

    @property
    def note(self) -> str:
        """Why B minus A is left out; "" where it is there."""
        if self.a.evaluation is None or self.b.evaluation is None:
            return "per-item results are kept with runs alone, so B − A has no bounds here"
        if not any(row.between for row in self.rows):
            return "the two were not asked the same items of the same base: B − A is left out"
        return ""


def read_side(name: str, registry: Path) -> Side:
    """The run in the folder `name`, or the adapter `NAME@VERSION` of `registry`.

    Raises TrainerError where there is no such thing or it has no verdict.
    """
    folder = Path(name)
    if not folder.is_dir():
        try:
            ref = AdapterRef.parse(name)
        except BadInput:
            raise TrainerError(
                f"{name} is neither the folder of a run nor an adapter as NAME@VERSION"
            ) from None
        folder = registry / ref.name / ref.version
        if not folder.is_dir():
            raise TrainerError(f"the registry {registry} has no adapter {name}")
    run = RunFolder(folder)
    # An adapter of the registry has its verdict in the report that it was published with.
    published = not run.gate.is_file() and run.summary.is_file()
    gate = read_verdict(run.summary, key="gate") if published else read_verdict(run.gate)
    recipe = run.recipe.read_text(encoding="utf-8") if run.recipe.is_file() else ""
    evaluation = gate_evaluations(run)[1] if run.choice.is_file() else None
    return Side(name, gate, recipe, evaluation)


def side_by_side(a: Side, b: Side) -> SideBySide:
    """Every measure of either, in A's order; targets first."""
    ours, theirs = _by_name(a.gate), _by_name(b.gate)
    between = _between(a, b)
    rows = []
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name), theirs.get(name)
        of, gate = (one, a.gate) if one is not None else (other, b.gate)
        assert of is not None
        rows.append(
            Row(of.measure, margin_of(of.measure, gate.rule), one, other, between.get(name))
        )
    diff = difflib.unified_diff(
        a.recipe.splitlines(), b.recipe.splitlines(), a.name, b.name, lineterm="", n=1
    )
    return SideBySide(a, b, tuple(rows), tuple(diff))


def to_html(both: SideBySide) -> str:
    """The comparison as one page that needs nothing else."""
    return (
        environment(html=True).get_template("compare.html.j2").render(both=both, rows=table(both))
    )


def table(both: SideBySide) -> list[Mapping[str, Any]]:
    """The rows in words."""
    return [
        {
            "measure": row.measure.name,
            "primary": row.measure.primary,
            "unit": words.unit_of(row.measure),
            "base": _base(row),
            "margin": change(-row.margin, row.measure.unit) if row.margin else "",
            "a": _cell(row.a),
            "b": _cell(row.b),
            "between": _between_cell(row),
        }
        for row in both.rows
    ]


def _cell(verdict: MeasureVerdict | None) -> Mapping[str, str]:
    if verdict is None:
        return {"score": "", "difference": "", "verdict": "", "mark": ""}
    return {
        "score": number(verdict.adapter, verdict.measure.unit),
        "difference": change(verdict.difference, verdict.measure.unit),
        "verdict": verdict.verdict.value,
        "mark": words.MARKS[verdict.verdict],
    }


def _base(row: Row) -> str:
    of = row.a or row.b
    return number(of.base, row.measure.unit) if of else ""


def _between_cell(row: Row) -> Mapping[str, str]:
    if row.between is None:
        return {"difference": "", "interval": "", "says": ""}
    seen, unit = row.between, row.measure.unit
    says = "b better" if seen.low > 0 else "b worse" if seen.high < 0 else ""
    return {
        "difference": change(seen.difference, unit),
        "interval": f"{change(seen.low, unit)} … {change(seen.high, unit)}",
        "says": says,
    }


def _by_name(gate: GateVerdict) -> dict[str, MeasureVerdict]:
    return {v.measure.name: v for v in (*gate.target, *gate.guardrails)}


def _between(a: Side, b: Side) -> dict[str, Comparison]:
    """B minus A by measure, over the suites that both were asked alike."""
    if a.evaluation is None or b.evaluation is None:
        return {}
    one, other = a.evaluation, b.evaluation
    digests = {suite.suite: suite.digest for suite in other.suites}
    same = {s.suite for s in one.suites if digests.get(s.suite) == s.digest}
    try:
        pairs = pair(_only(one, same), _only(other, same))
    except TrainerError:
        return {}  # another base or split: the two cannot be paired
    rule = a.gate.rule
    return {p.measure.name: compare(p, null=0.0, alpha=rule.alpha, rule=rule) for p in pairs}


def _only(evaluation: Evaluation, suites: set[str]) -> Evaluation:
    return replace(
        evaluation, suites=tuple(suite for suite in evaluation.suites if suite.suite in suites)
    )
