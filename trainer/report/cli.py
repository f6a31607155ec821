"""`trainer report` and `trainer compare`: write the pages, and say the verdict at the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainer.folder import RunFolder
from trainer.gate.values import GateVerdict, Verdict
from trainer.report import render, words
from trainer.report.compare import SideBySide, read_side, side_by_side, table, to_html
from trainer.report.gather import gather
from trainer.report.values import RunReport
from trainer.whole_files import write_text

_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNDECIDED: "yellow"}


def register(app: typer.Typer) -> None:
    """Add this file's commands to `app`."""
    app.command("report")(report)
    app.command("compare")(compare)


def write_report(folder: RunFolder) -> RunReport:
    """Write the run's report as HTML, Markdown and JSON. Raises TrainerError."""
    found = gather(folder)
    write_text(folder.report_html, render.to_html(found))
    write_text(folder.report_markdown, render.to_markdown(found))
    write_text(folder.summary, render.to_json(found))
    return found


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
) -> None:
    """Write what a person decides from: report.html, report.md and report.json in the run."""
    folder = RunFolder(run)
    found = write_report(folder)
    console = Console()
    print_verdict(console, found.gate)
    console.print(Text(words.lead(found.gate, found.choice)))
    for path in (folder.report_html, folder.report_markdown, folder.summary):
        console.print(Text(str(path)), soft_wrap=True)


def compare(
    a: Annotated[str, typer.Argument(help="A run's folder, or NAME@VERSION.")],
    b: Annotated[str, typer.Argument(help="What to set beside it.")],
    html: Annotated[Path | None, typer.Option(help="Write the comparison as a page.")] = None,
    registry: Annotated[Path, typer.Option(help="Where adapters are.")] = Path("registry"),
) -> None:
    """Set two runs or registered adapters side by side, measure by measure."""
    both = side_by_side(read_side(a, registry), read_side(b, registry))
    console = Console()
    console.print(comparison_table(both))
    if both.note:
        console.print(Text(both.note, style="dim"))
    if html is not None:
        write_text(html, to_html(both))
        console.print(Text(str(html)), soft_wrap=True)


def print_verdict(console: Console, gate: GateVerdict) -> None:
    """The verdict's headline in its colour."""
    style = f"bold {_STYLES[gate.verdict]}"
    console.print(Text(f"{words.MARKS[gate.verdict]} {words.HEADLINES[gate.verdict]}", style=style))


def comparison_table(both: SideBySide) -> Table:
    """The rows of `both` for a terminal."""
    drawn = Table(title=None, caption=f"A: {both.a.name}   B: {both.b.name}")
    for heading, right in (
        ("measure", False),
        ("base", True),
        (f"A {both.a.gate.verdict.value}", True),
        (f"B {both.b.gate.verdict.value}", True),
        ("B − A", True),
        ("bounds", True),
    ):
        drawn.add_column(heading, justify="right" if right else "left")
    for row in table(both):
        drawn.add_row(
            Text(row["measure"], style="" if row["primary"] else "dim"),
            row["base"],
            *(Text(f"{row[side]['score']} {row[side]['mark']}".strip()) for side in ("a", "b")),
            row["between"]["difference"],
            row["between"]["interval"],
        )
    return drawn
