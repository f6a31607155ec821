"""The `gateway` command. Exit codes: 0 done, 1 refused, 2 bad usage or file, 3 gateway
unreachable or outcome unknown, 4 revision conflict."""

from __future__ import annotations

import asyncio
import functools
import getpass
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli import offline
from gateway.cli.client import AdminClient, OutcomeUnknown, Refused, Unreachable
from gateway.errors import BadInput, GatewayError, RevisionConflict, TableRejected
from gateway.routing import commands

app = typer.Typer(no_args_is_help=True, help=__doc__)
adapters_app = typer.Typer(no_args_is_help=True, help="The registry's adapters.")
app.add_typer(adapters_app, name="adapters")

AdminUrl = Annotated[
    str, typer.Option("--admin-url", envvar="GATEWAY_ADMIN_URL", help="The admin API.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept in the log.")]
State = Annotated[
    Path, typer.Option(envvar="GATEWAY_STATE", help="The log's folder, if the gateway is down.")
]
Expected = Annotated[
    int | None, typer.Option("--expected-revision", help="Refuse if the log has moved past this.")
]
InFlightOption = Annotated[
    Literal["finish", "restart"], typer.Option(help="What becomes of running requests.")
]
P = ParamSpec("P")
_URL = "http://127.0.0.1:8001"
_VAR = Path("var")


def _coded(function: Callable[P, None]) -> Callable[P, None]:
    """Errors to messages and exit codes, in one place."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Refused as error:
            code = {"revision_conflict": 4, "table_rejected": 2}.get(error.code, 1)
            _fail(str(error), code)
        except Unreachable as error:
            _fail(f"{error}; start it with `gateway serve`, or name it with --admin-url", 3)
        except OutcomeUnknown as error:
            _fail(str(error), 3)
        except RevisionConflict as error:
            _fail(error.message, 4)
        except (TableRejected, BadInput) as error:
            _fail(error.message, 2)
        except GatewayError as error:
            _fail(error.message, 1)

    return wrapped


def _fail(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(code)


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False))


def _order(reason: str, expected: int | None = None, **more: Any) -> dict[str, Any]:
    return {"actor": getpass.getuser(), "reason": reason, "expected_revision": expected, **more}


def _report(done: dict[str, Any], as_json: bool, nothing: str = "nothing changed") -> None:
    """Say what a command changed and at which revision."""
    if as_json:
        _print_json(done)
        return
    for change in done["changes"]:
        before, after = change["before"], change["after"]
        old = before["target"] if before else "(none)"
        new = f"{after['target']} ({after['reason']})" if after else "(none)"
        print(f"{change['workflow']}: {old} -> {new} at revision {done['revision']}")
    if not done["changes"]:
        print(f"{nothing}; revision {done['revision']}")


def _command(
    url: str,
    state: Path,
    workflow: str,
    verb: str,
    order: dict[str, Any],
    decide: offline.Decide,
    as_json: bool,
) -> None:
    """Send a command, or write it to the log where the gateway is down."""
    try:
        _report(AdminClient(url).call("POST", f"/workflows/{workflow}/{verb}", order), as_json)
    except Unreachable:
        event, before, after = offline.append(
            state, decide, workflow, order["actor"], order["reason"]
        )
        old, new = (str(d.target) if d else "(none)" for d in (before, after))
        if as_json:
            _print_json({"revision": event.revision, "offline": True, "before": old, "after": new})
            return
        print(
            f"{workflow}: {old} -> {new} at revision {event.revision}, written to {state}: "
            "the gateway is down; its next start obeys"
        )


@app.command()
@_coded
def serve(
    config: Annotated[Path | None, typer.Option(help="Settings file (gateway.toml).")] = None,
    host: str | None = None,
    port: int | None = None,
    admin_host: str | None = None,
    admin_port: int | None = None,
    routes: Path | None = None,
    state: Path | None = None,
    registry: Path | None = None,
    model: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    slots: int | None = None,
    max_rank: int | None = None,
    max_rows: int | None = None,
    max_len: int | None = None,
    max_queue: int | None = None,
    threads: int | None = None,
    grace_s: float | None = None,
    log_level: str | None = None,
) -> None:
    """Serve until stopped."""
    flags = {name: value for name, value in locals().items() if name != "config"}
    from gateway.serve import run
    from gateway.settings import read_settings

    asyncio.run(run(read_settings(flags, file=config)))


@app.command("config")
@_coded
def show_config(
    config: Annotated[Path | None, typer.Option(help="Settings file (gateway.toml).")] = None,
) -> None:
    """Print the settings in force, as JSON."""
    from gateway.settings import read_settings

    print(read_settings({}, file=config).model_dump_json(indent=2))


@app.command()
@_coded
def routes(admin_url: AdminUrl = _URL, as_json: AsJson = False) -> None:
    """Where each workflow goes, and why."""
    data = AdminClient(admin_url).call("GET", "/routes")
    if as_json:
        _print_json(data)
        return
    table = Table("workflow", "target", "reason", "in the file", "fallback")
    for name, route in data["workflows"].items():
        table.add_row(
            name, route["target"], route["reason"], route["file_target"] or "-", route["fallback"]
        )
    Console().print(table)
    print(f"revision {data['revision']}")


@app.command()
@_coded
def history(limit: int = 20, admin_url: AdminUrl = _URL, as_json: AsJson = False) -> None:
    """What changed, newest first."""
    data = AdminClient(admin_url).call("GET", "/revisions", limit=limit)
    if as_json:
        _print_json(data)
        return
    for event in data["revisions"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at"]))
        what = event["change"].get("workflow") or ""
        print(
            f"{event['revision']:>5}  {at}  {event['kind']:<17} {what:<24} {event['actor']}", end=""
        )
        print(f"  {event['reason']}" if event["reason"] else "")


@app.command()
@_coded
def show(revision: int, admin_url: AdminUrl = _URL) -> None:
    """One revision: its event, its table and what it changed, as JSON."""
    _print_json(AdminClient(admin_url).call("GET", f"/revisions/{revision}"))


@app.command()
@_coded
def diff(
    a: int,
    b: Annotated[int | None, typer.Argument()] = None,
    admin_url: AdminUrl = _URL,
    as_json: AsJson = False,
) -> None:
    """What differs between two revisions (B: the live table)."""
    data = AdminClient(admin_url).call("GET", "/diff", a=a, b=b)
    _report({**data, "revision": data["to"]}, as_json, "no difference")


@app.command()
@_coded
def status(admin_url: AdminUrl = _URL) -> None:
    """Engine, log and file, as JSON."""
    _print_json(AdminClient(admin_url).call("GET", "/status"))


@app.command()
@_coded
def apply(
    file: Path = Path("routes.yaml"),
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    message: Annotated[str, typer.Option("-m", "--message", help="Why.")] = "",
    expected: Expected = None,
    admin_url: AdminUrl = _URL,
    as_json: AsJson = False,
) -> None:
    """Apply a routing table whole."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error}") from None
    order = _order(message, expected, text=text)
    done = AdminClient(admin_url).call("PUT", "/table", order, dry_run=dry_run)
    _report(done, as_json)


@app.command()
@_coded
def disable(
    workflow: str,
    reason: Reason,
    in_flight: InFlightOption = "finish",
    expected: Expected = None,
    state: State = _VAR,
    admin_url: AdminUrl = _URL,
    as_json: AsJson = False,
) -> None:
    """Send a workflow to its fallback, until it is enabled again."""
    order = _order(reason, expected, in_flight=in_flight)
    _command(
        admin_url,
        state,
        workflow,
        "disable",
        order,
        lambda now, _: commands.disable(now, workflow, in_flight),
        as_json,
    )


@app.command()
@_coded
def enable(
    workflow: str,
    reason: Reason = "",
    expected: Expected = None,
    state: State = _VAR,
    admin_url: AdminUrl = _URL,
    as_json: AsJson = False,
) -> None:
    """Lift a disable."""
    order = _order(reason, expected)
    decide: offline.Decide = lambda now, _: commands.enable(now, workflow)  # noqa: E731
    _command(admin_url, state, workflow, "enable", order, decide, as_json)


@app.command()
@_coded
def rollback(
    workflow: str,
    reason: Reason = "rollback",
    to: Annotated[int | None, typer.Option(help="Revision; default: the last other route.")] = None,
    in_flight: InFlightOption = "finish",
    expected: Expected = None,
    state: State = _VAR,
    admin_url: AdminUrl = _URL,
    as_json: AsJson = False,
) -> None:
    """Pin a workflow to its route at an earlier revision."""
    order = _order(reason, expected, to=to, in_flight=in_flight)
    _command(
        admin_url,
        state,
        workflow,
        "rollback",
        order,
        lambda _, events: commands.rollback(events, workflow, to, in_flight, lambda _: None),
        as_json,
    )


@app.command()
@_coded
def resume(
    workflow: str,
    reason: Reason = "",
    expected: Expected = None,
    state: State = _VAR,
    admin_url: AdminUrl = _URL,
    as_json: AsJson = False,
) -> None:
    """Lift a rollback's pin: the file rules again."""
    order = _order(reason, expected)
    decide: offline.Decide = lambda now, _: commands.resume(now, workflow)  # noqa: E731
    _command(admin_url, state, workflow, "resume", order, decide, as_json)


@adapters_app.command("list")
@_coded
def list_adapters(admin_url: AdminUrl = _URL, as_json: AsJson = False) -> None:
    """Every adapter with its state."""
    data = AdminClient(admin_url).call("GET", "/adapters")
    if as_json:
        _print_json(data)
        return
    for item in data["adapters"]:
        print(f"{item['ref']:<32} {item['state']:<10} rank {item['rank']:<3} {item['digest'][:12]}")


@adapters_app.command("show")
@_coded
def show_adapter(ref: str, admin_url: AdminUrl = _URL) -> None:
    """One adapter with its eval report, as JSON."""
    _print_json(AdminClient(admin_url).call("GET", f"/adapters/{ref}"))


@adapters_app.command("add")
@_coded
def add_adapter(
    ref: str,
    folder: Path,
    workflow: str = "",
    description: str = "",
    admin_url: AdminUrl = _URL,
) -> None:
    """Register a PEFT adapter folder as NAME@VERSION, a candidate."""
    body = {"folder": str(folder.resolve()), "ref": ref}
    body |= {"workflow": workflow, "description": description}
    done = AdminClient(admin_url).call("POST", "/adapters", body)
    print(f"{done['ref']} {done['state']} {done['digest'][:12]}")


@adapters_app.command("approve")
@_coded
def approve_adapter(ref: str, reason: Reason = "", admin_url: AdminUrl = _URL) -> None:
    """Let routes name an adapter."""
    done = AdminClient(admin_url).call("POST", f"/adapters/{ref}/approve", _order(reason))
    print(f"{ref} approved at revision {done['revision']}")


@adapters_app.command("revoke")
@_coded
def revoke_adapter(ref: str, reason: Reason, admin_url: AdminUrl = _URL) -> None:
    """Take an adapter out of service; its routes go to their fallback."""
    done = AdminClient(admin_url).call("POST", f"/adapters/{ref}/revoke", _order(reason))
    print(f"{ref} revoked at revision {done['revision']}")
    _report(done, as_json=False)
