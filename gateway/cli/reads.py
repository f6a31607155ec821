"""Commands that only look: where workflows go, what changed, when and by whom."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.client import AdminClient
from gateway.cli.options import ADMIN_URL, AdminUrl, AsJson
from gateway.cli.outcomes import coded, local_time, print_change, print_json

app = typer.Typer()

RevisionNumber = Annotated[int, typer.Argument(metavar="REV", help="The revision.")]


@app.command()
@coded
def routes(admin_url: AdminUrl = ADMIN_URL, as_json: AsJson = False) -> None:
    """Where each workflow goes, and why."""
    data = AdminClient(admin_url).call("GET", "/routes")
    if as_json:
        print_json(data)
        return
    table = Table("workflow", "target", "reason", "in the file", "fallback")
    for name, route in data["workflows"].items():
        table.add_row(
            name, route["target"], route["reason"], route["file_target"] or "-", route["fallback"]
        )
    Console().print(table)
    for name, route in data["workflows"].items():
        if route["why"]:
            print(f"{name}: {route['why']}")
    print(f"revision {data['revision']}")


@app.command()
@coded
def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many revisions.")] = 20,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """What changed, newest first."""
    data = AdminClient(admin_url).call("GET", "/revisions", limit=limit)
    if as_json:
        print_json(data)
        return
    for event in data["revisions"]:
        print(
            f"{event['revision']:>5}  {local_time(event['at'])}  {event['kind']:<17} "
            f"{_subject(event):<24} {event['actor']}  {event['reason']}".rstrip()
        )


@app.command()
@coded
def show(
    revision: RevisionNumber, admin_url: AdminUrl = ADMIN_URL, as_json: AsJson = False
) -> None:
    """One revision: who made it, what it changed, and the table after it."""
    data = AdminClient(admin_url).call("GET", f"/revisions/{revision}")
    if as_json:
        print_json(data)
        return
    event = data["event"]
    print(f"revision  {event['revision']}")
    print(f"what      {event['kind']} {_subject(event)}".rstrip())
    if event["change"].get("override"):
        print(f"gate      {event['change']['gate']}, OVERRIDDEN")
    print(f"who       {event['actor']}")
    print(f"when      {local_time(event['at'])}")
    print(f"why       {event['reason'] or '-'}")
    print_change({**data, "revision": event["revision"]}, nothing="no route changed")
    table = Table("workflow", "target", "reason", "fallback")
    for name, decision in data["table"].items():
        table.add_row(name, decision["target"], decision["reason"], decision["fallback"])
    Console().print(table)


@app.command()
@coded
def diff(
    a: Annotated[int, typer.Argument(metavar="A", help="The earlier revision.")],
    b: Annotated[
        int | None, typer.Argument(metavar="B", help="The later one; default: the live table.")
    ] = None,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """What differs between two revisions."""
    data = AdminClient(admin_url).call("GET", "/diff", a=a, b=b)
    if as_json:
        print_json(data)
        return
    print_change({**data, "revision": data["to"]}, nothing="no difference")


def _subject(event: dict[str, Any]) -> str:
    """What the event is about: a workflow, an adapter, a key, or the file applied."""
    change = event["change"]
    if (ref := change.get("ref")) is not None:
        return f"{ref['name']}@{ref['version']}"
    key = change.get("name") or change.get("key", {}).get("name")
    return change.get("workflow") or key or change.get("source") or ""
