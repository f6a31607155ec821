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
    AdminUrl,
    AsJson,
    Expected,
    InFlight,
    Local,
    Reason,
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
from gateway.cli.way import Way, on_workflow
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
@on_workflow
@coded
def disable(
    workflow: Workflow,
    reason: Reason,
    in_flight: InFlight = "finish",
    local: Local = False,
    *,
    way: Way,
) -> None:
    """Send a workflow to its fallback, until it is enabled again."""
    command(
        way,
        workflow,
        "disable",
        reason,
        lambda now, _: commands.disable(now, workflow, in_flight),
        in_flight=in_flight,
        local=local,
    )


@app.command()
@on_workflow
@coded
def enable(
    workflow: Workflow,
    reason: Reason = "",
    *,
    way: Way,
) -> None:
    """Lift a disable."""
    command(way, workflow, "enable", reason, lambda now, _: commands.enable(now, workflow))


@app.command()
@on_workflow
@coded
def rollback(
    workflow: Workflow,
    reason: Reason = "rollback",
    to: Annotated[int | None, typer.Option(help="Revision; default: the last other route.")] = None,
    in_flight: InFlight = "finish",
    *,
    way: Way,
) -> None:
    """Pin a workflow to its route at an earlier revision."""
    command(
        way,
        workflow,
        "rollback",
        reason,
        lambda _, events: commands.rollback(events, workflow, to, in_flight, lambda _: None),
        to=to,
        in_flight=in_flight,
    )


@app.command()
@on_workflow
@coded
def resume(
    workflow: Workflow,
    reason: Reason = "",
    *,
    way: Way,
) -> None:
    """Lift a rollback's pin: the file rules again. Without one: begin an aborted canary again."""
    command(way, workflow, "resume", reason, lambda now, _: commands.resume(now, workflow))


def command(
    way: Way, workflow: str, verb: str, reason: str, decide: offline.Decide, **more: Any
) -> None:
    """Send a command, or write it to the log where the gateway is down. `more`: what its body
    says besides."""
    body = order(reason, way.expected, wait_s=way.wait, **more)
    try:
        done = AdminClient(way.admin_url).call("POST", f"/workflows/{workflow}/{verb}", body)
    except Unreachable:
        done = offline.append(
            way.state, decide, workflow, body["actor"], body["reason"], way.expected
        )
    silent = silent_replicas(done)
    if way.as_json:
        print_json(done)
    else:
        print_change(done)
        print_replicas(done)
        if done.get("offline"):
            print(
                f"the gateway is down: written to the log in {offline.shown(way.state)}; its next "
                "start obeys"
            )
    if silent:
        fail(f"{', '.join(silent)} did not acknowledge within {way.wait:g} s", UNKNOWN)
