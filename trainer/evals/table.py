"""Evaluations side by side as a table, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from trainer.evals.values import Evaluation, Measure, SuiteResult


def evaluation_table(evaluations: Sequence[Evaluation]) -> Table:
    """A row for each measure, a column for each model; other models than the first also show how
    far they are from it, with the standard error of the paired difference."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measure", no_wrap=True)
    table.add_column("family")
    table.add_column("unit")
    table.add_column("items", justify="right")
    first, *others = evaluations
    table.add_column(first.model, justify="right")
    for other in others:
        table.add_column(other.model, justify="right")
        table.add_column("difference", justify="right", no_wrap=True)
    for result in first.suites:
        for measure in result.measures:
            row = [
                measure.name if measure.primary else f"{measure.name} *",
                measure.family,
                measure.unit,
                str(len(result.items)),
                f"{result.mean(measure.check):.3f}",
            ]
            for other in others:
                theirs = other.suite(result.suite)
                difference, error = paired_difference(result, theirs, measure)
                row += [f"{theirs.mean(measure.check):.3f}", f"{difference:+.3f} ± {error:.3f}"]
            table.add_row(*row)
    if any(not m.primary for result in first.suites for m in result.measures):
        table.caption = "* reported, not judged"
    return table


def paired_difference(
    one: SuiteResult, other: SuiteResult, measure: Measure
) -> tuple[float, float]:
    """Mean of other minus one over the same items, and its standard error (0 for one item)."""
    theirs = {item.id: item.scores[measure.check] for item in other.items}
    differences = [theirs[item.id] - item.scores[measure.check] for item in one.items]
    n = len(differences)
    mean = sum(differences) / n
    if n < 2:
        return mean, 0.0
    variance = sum((value - mean) ** 2 for value in differences) / (n - 1)
    return mean, (variance / n) ** 0.5
