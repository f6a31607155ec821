"""`trainer probes`: guardrail suites to a probe set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gateway.probes.reading import SUFFIX, dumped
from trainer.errors import TrainerError
from trainer.evals.suite import DEFAULT, read_suites
from trainer.probes.export import probe_lines, scorable
from trainer.whole_files import write_text


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("probes")(probes_command)


def probes_command(
    out: Annotated[
        Path,
        typer.Argument(help=f"The file to write, NAME{SUFFIX} in the gateway's probes folder."),
    ],
    suite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER",
            help="A suite's folder, or a folder of suites; may be repeated. The shipped "
            f"guardrails are called {DEFAULT}.",
        ),
    ] = None,
) -> None:
    """Write a probe set that a running gateway asks beside its traffic (`guard:` in routes.yaml).

    Suites whose checks the gateway cannot score are named and left out.
    """
    if out.suffix != SUFFIX:
        raise TrainerError(f"{out}: a probe set's file ends with {SUFFIX}")
    named = read_suites(suite or [DEFAULT])
    taken = scorable(named)
    lines = probe_lines(taken)
    if not lines:
        raise TrainerError("none of the suites has a primary check that the gateway can score")
    write_text(out, "".join(f"{dumped(line)}\n" for line in lines))
    console = Console()
    for left in sorted({each.name for each in named} - {each.name for each in taken}):
        console.print(f"{left}: left out, the gateway cannot score its checks")
    for name, count in Counter(line.suite for line in lines).items():
        console.print(f"{name}: {count} probes")
    console.print(f"written to {out}; set: {out.stem}", soft_wrap=True)
