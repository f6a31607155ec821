"""`gateway adapters`: what the registry holds, and the verdicts on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli import upkeep
from gateway.cli.client import AdminClient
from gateway.cli.options import ADMIN_URL, AdapterName, AdminUrl, AsJson, Reason
from gateway.cli.outcomes import by, coded, print_change, print_json
from gateway.cli.routing import order

app = typer.Typer(no_args_is_help=True, help="The registry's adapters.")
app.add_typer(upkeep.app)


@app.command("list")
@coded
def list_adapters(admin_url: AdminUrl = ADMIN_URL, as_json: AsJson = False) -> None:
    """Every adapter with its state."""
    data = AdminClient(admin_url).call("GET", "/adapters")
    if as_json:
        print_json(data)
        return
    for item in data["adapters"]:
        print(
            f"{item['ref']:<32} {item['state']:<10} {_gate(item):<20} rank {item['rank']:<3} "
            f"{item['digest'][:12]}"
        )


@app.command("show")
@coded
def show_adapter(
    ref: AdapterName, admin_url: AdminUrl = ADMIN_URL, as_json: AsJson = False
) -> None:
    """One adapter with the figures of its eval report."""
    data = AdminClient(admin_url).call("GET", f"/adapters/{ref}")
    if as_json:
        print_json(data)
        return
    report, gate, hand = (data.pop(name) for name in ("report", "gate", "gate_override"))
    for name, value in data.items():
        print(f"{name:<17} {value if value != '' else '-'}")
    why = f": {gate['reason']}" if gate["reason"] else ""
    print(f"gate              {gate['verdict']}{why}")
    for name, value in gate["figures"].items():
        print(f"  {name:<15} {value}")
    if hand is not None:
        print(f"gate OVERRIDDEN   {by(hand)}")
    print("report" if report else "report            none was published with it")
    for name, value in (report or {}).items():
        if name != "per_item":
            print(f"  {name:<15} {value}")


@app.command("add")
@coded
def add_adapter(
    ref: AdapterName,
    folder: Annotated[Path, typer.Argument(help="A PEFT adapter's folder, on the gateway's disk.")],
    workflow: Annotated[str, typer.Option(help="The workflow it is made for.")] = "",
    description: Annotated[str, typer.Option(help="What it is, in a line.")] = "",
    reason: Reason = "",
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Register a PEFT adapter folder as NAME@VERSION, a candidate."""
    body = order(reason, folder=str(folder.resolve()), ref=ref)
    body |= {"workflow": workflow, "description": description}
    done = AdminClient(admin_url).call("POST", "/adapters", body)
    if as_json:
        print_json(done)
        return
    print(f"{done['ref']} is registered, {done['state']}, digest {done['digest'][:12]}")


@app.command("approve")
@coded
def approve_adapter(
    ref: AdapterName,
    override: Annotated[
        bool,
        typer.Option("--override", help="Approve it although its gate did not pass; say why."),
    ] = False,
    reason: Reason = "",
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Let routes name an adapter whose gate passed."""
    body = order(reason, override=override)
    _judge(ref, "approve", body, admin_url, as_json)


@app.command("revoke")
@coded
def revoke_adapter(
    ref: AdapterName, reason: Reason, admin_url: AdminUrl = ADMIN_URL, as_json: AsJson = False
) -> None:
    """Take an adapter out of service; its routes go to their fallback."""
    _judge(ref, "revoke", order(reason), admin_url, as_json)


def _gate(item: dict[str, Any]) -> str:
    return f"gate {item['gate']['verdict']}{' OVERRIDDEN' if item['gate_override'] else ''}"


def _judge(ref: str, verb: str, body: dict[str, Any], admin_url: str, as_json: bool) -> None:
    done = AdminClient(admin_url).call("POST", f"/adapters/{ref}/{verb}", body)
    if as_json:
        print_json(done)
        return
    print(f"{ref} {verb.removesuffix('e')}ed at revision {done['revision']}")
    print_change(done, nothing="no route changed")
