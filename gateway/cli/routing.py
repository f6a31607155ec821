"""Commands that change routing: sent to the gateway, or written to its log while it is down."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli import offline
from gateway.cli.client import AdminClient, Unreachable
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
from gateway.cli.outcomes import (
    UNKNOWN,
    coded,
    fail,
    print_change,
    print_json,
    print_replicas,
    silent_replicas,
)
from gateway.errors import BadInput
from gateway.routing import commands

app = typer.Typer()


def order(reason: str, expected: int | None = None, **more: Any) -> dict[str, Any]:
    """A command's body, signed with the operator's name."""
    return {"actor": getpass.getuser(), "reason": reason, "expected_revision": expected, **more}


@app.command()
@coded
def apply(
    file: Annotated[Path, typer.Argument(help="The routing table.")] = Path("routes.yaml"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check it and say what would change.")
    ] = False,
    message: Annotated[str, typer.Option("-m", "--message", help="Why.")] = "",
    expected: Expected = None,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Apply a routing table whole."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None
    body = order(message, expected, text=text)
    done = AdminClient(admin_url).call("PUT", "/table", body, dry_run=dry_run)
    if as_json:
        print_json(done)
        return
    if dry_run:
        print(f"{file} is valid; a dry run, nothing is applied. It would change:")
    print_change(done, nothing="no route" if dry_run else "nothing changed")


@app.command()
@coded
def disable(
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
    """Send a workflow to its fallback, until it is enabled again."""
    command(
        admin_url,
        state,
        workflow,
        "disable",
        order(reason, expected, in_flight=in_flight, local=local, wait_s=wait),
        lambda now, _: commands.disable(now, workflow, in_flight),
        as_json,
    )


@app.command()
@coded
def enable(
    workflow: Workflow,
    reason: Reason = "",
    wait: Wait = WAIT_S,
    expected: Expected = None,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Lift a disable."""
    command(
        admin_url,
        state,
        workflow,
        "enable",
        order(reason, expected, wait_s=wait),
        lambda now, _: commands.enable(now, workflow),
        as_json,
    )


@app.command()
@coded
def rollback(
    workflow: Workflow,
    reason: Reason = "rollback",
    to: Annotated[int | None, typer.Option(help="Revision; default: the last other route.")] = None,
    in_flight: InFlight = "finish",
    wait: Wait = WAIT_S,
    expected: Expected = None,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Pin a workflow to its route at an earlier revision."""
    command(
        admin_url,
        state,
        workflow,
        "rollback",
        order(reason, expected, to=to, in_flight=in_flight, wait_s=wait),
        lambda _, events: commands.rollback(events, workflow, to, in_flight, lambda _: None),
        as_json,
    )


@app.command()
@coded
def resume(
    workflow: Workflow,
    reason: Reason = "",
    wait: Wait = WAIT_S,
    expected: Expected = None,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Lift a rollback's pin: the file rules again. Without one: begin an aborted canary again."""
    command(
        admin_url,
        state,
        workflow,
        "resume",
        order(reason, expected, wait_s=wait),
        lambda now, _: commands.resume(now, workflow),
        as_json,
    )


def command(
    url: str,
    state: str,
    workflow: str,
    verb: str,
    body: dict[str, Any],
    decide: offline.Decide,
    as_json: bool,
) -> None:
    """Send a command, or write it to the log where the gateway is down."""
    try:
        done = AdminClient(url).call("POST", f"/workflows/{workflow}/{verb}", body)
    except Unreachable:
        done = offline.append(
            state, decide, workflow, body["actor"], body["reason"], body["expected_revision"]
        )
    silent = silent_replicas(done)
    if as_json:
        print_json(done)
    else:
        print_change(done)
        print_replicas(done)
        if done.get("offline"):
            print(
                f"the gateway is down: written to the log in {offline.shown(state)}; its next "
                "start obeys"
            )
    if silent:
        fail(f"{', '.join(silent)} did not acknowledge within {body['wait_s']:g} s", UNKNOWN)
