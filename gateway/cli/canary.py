"""Commands on a workflow's canary: give it its next share, or take everything from it."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import InFlight, Local, Reason, Workflow
from gateway.cli.outcomes import coded
from gateway.cli.routing import command
from gateway.cli.way import Way, on_workflow
from gateway.routing import canary_commands

app = typer.Typer()


@app.command()
@on_workflow
@coded
def promote(
    workflow: Workflow,
    reason: Reason,
    whole: Annotated[
        bool, typer.Option("--whole", help="Everything at once, not the plan's next step.")
    ] = False,
    *,
    way: Way,
) -> None:
    """Give a workflow's canary its next share; after the last one it answers everything."""
    command(
        way,
        workflow,
        "promote",
        reason,
        lambda now, _: canary_commands.promote(now, workflow, whole=whole),
        whole=whole,
    )


@app.command()
@on_workflow
@coded
def abort(
    workflow: Workflow,
    reason: Reason,
    in_flight: InFlight = "finish",
    local: Local = False,
    *,
    way: Way,
) -> None:
    """Take every request from a workflow's canary, until it is resumed or another is named."""
    command(
        way,
        workflow,
        "abort",
        reason,
        lambda now, _: canary_commands.abort(now, workflow, in_flight),
        in_flight=in_flight,
        local=local,
    )
