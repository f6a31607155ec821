"""Commands on a workflow's canary: give it its next share, or take everything from it."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import (
    ADMIN_URL,
    STATE,
    WAIT_S,
    AdminUrl,
    AsJson,
    Expected,
    InFlight,
    Local,
    Reason,
    State,
    Wait,
    Workflow,
)
from gateway.cli.outcomes import coded
from gateway.cli.routing import command, order
from gateway.routing import canary_commands

app = typer.Typer()


@app.command()
@coded
def promote(
    workflow: Workflow,
    reason: Reason,
    whole: Annotated[
        bool, typer.Option("--whole", help="Everything at once, not the plan's next step.")
    ] = False,
    wait: Wait = WAIT_S,
    expected: Expected = None,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Give a workflow's canary its next share; after the last one it answers everything."""
    command(
        admin_url,
        state,
        workflow,
        "promote",
        order(reason, expected, whole=whole, wait_s=wait),
        lambda now, _: canary_commands.promote(now, workflow, whole=whole),
        as_json,
    )


@app.command()
@coded
def abort(
    workflow: Workflow,
    reason: Reason,
    in_flight: InFlight = "finish",
    local: Local = False,
    wait: Wait = WAIT_S,
    expected: Expected = None,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Take every request from a workflow's canary, until it is resumed or another is named."""
    command(
        admin_url,
        state,
        workflow,
        "abort",
        order(reason, expected, in_flight=in_flight, local=local, wait_s=wait),
        lambda now, _: canary_commands.abort(now, workflow, in_flight),
        as_json,
    )
