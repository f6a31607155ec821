"""`gateway keys`: make, list and revoke. A secret is printed once, when its key is made."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import Annotated, Any

import typer

from gateway.access import commands
from gateway.access.secret import new_key
from gateway.access.values import (
    ANY_WORKFLOW,
    ClientGrant,
    Grant,
    Key,
    KeyRecord,
    Limit,
    OperatorGrant,
    Role,
    check_key,
)
from gateway.cli import offline
from gateway.cli.client import AdminClient, Unreachable
from gateway.cli.options import ADMIN_URL, STATE, AdminUrl, AsJson, Reason, State
from gateway.cli.outcomes import coded, local_time, print_json
from gateway.cli.routing import order
from gateway.errors import BadInput
from gateway.routing.fold import fold

app = typer.Typer(no_args_is_help=True, help="Client and operator keys.")

Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="Write to the log in --state, past the admin API: for the first key."
    ),
]


@app.command()
@coded
def create(
    name: Annotated[str, typer.Argument(help="How events name it; never used twice.")],
    role: Annotated[
        Role | None,
        typer.Option(help="Make an operator key of this role; without it, a client key."),
    ] = None,
    workflow: Annotated[
        list[str] | None,
        typer.Option(help="A workflow, or a pattern with *, that a client may use; repeatable."),
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="A client's limit.")] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="A client's limit, prompts and answers together.")
    ] = None,
    concurrent_requests: Annotated[int | None, typer.Option(help="A client's limit.")] = None,
    reason: Reason = "",
    beside: Offline = False,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its secret, this once."""
    limits = (requests_per_minute, tokens_per_minute, concurrent_requests)
    grant: Grant
    if role is None:
        grant = ClientGrant(tuple(workflow or [ANY_WORKFLOW]), *limits)
    elif workflow or any(limit is not None for limit in limits):
        raise BadInput("workflows and limits are a client key's; leave them out, or --role")
    else:
        grant = OperatorGrant(role)
    check_key(Key("", name, "", grant))
    if beside:
        done = _create_offline(name, grant, state, reason)
    else:
        body = order(reason, name=name, grant=asdict(grant))
        done = AdminClient(admin_url).call("POST", "/keys", body)
    if as_json:
        print_json(done)
        return
    typer.echo(
        f"key {name} ({done['key']['id']}) is live from revision {done['revision']}; "
        "this is its secret, shown once and kept nowhere:",
        err=True,
    )
    print(done["secret"])


@app.command("list")
@coded
def list_keys(
    beside: Offline = False,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Every key that was ever made, with what it may do."""
    if beside:
        records = offline.state_of(state).keys.values()
        data: dict[str, Any] = {"keys": [_key_json(record) for record in records]}
    else:
        data = AdminClient(admin_url).call("GET", "/keys")
    if as_json:
        print_json(data)
        return
    if not data["keys"]:
        print("no key was made yet: inference and the admin API on loopback are open")
    for key in data["keys"]:
        made = f"made {local_time(key['created']['at'])} by {key['created']['actor']}"
        gone = key["revoked"]
        if gone:
            made += f", REVOKED {local_time(gone['at'])} by {gone['actor']}"
        print(f"{key['name']:<24} {key['id']}  {_may(key['grant'])}; {made}")


@app.command()
@coded
def revoke(
    key: Annotated[str, typer.Argument(metavar="NAME|ID", help="The key.")],
    reason: Reason,
    beside: Offline = False,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Take a key out of use, at once and for good."""
    try:
        if beside:
            raise Unreachable("")
        done = AdminClient(admin_url).call("POST", f"/keys/{key}/revoke", order(reason))
    except Unreachable:
        event, _ = offline.commit(
            state, lambda now, _: commands.revoke(now, key), getpass.getuser(), reason
        )
        done = {"revision": event.revision, "offline": True}
    if as_json:
        print_json(done)
        return
    print(f"key {key} is revoked at revision {done['revision']}")
    if done.get("offline"):
        print(
            f"written to the log in {offline.shown(state)}: a running gateway obeys within a second"
        )


def _create_offline(name: str, grant: Grant, state: str, reason: str) -> dict[str, Any]:
    key, secret = new_key(name, grant)
    event, before = offline.commit(
        state, lambda now, _: commands.create(now, key), getpass.getuser(), reason
    )
    made = fold(before, event).keys[key.id]
    return {
        "revision": event.revision,
        "offline": True,
        "key": _key_json(made),
        "secret": secret,
    }


def _key_json(record: KeyRecord) -> dict[str, Any]:
    from gateway.api.answers import ShownKey

    return ShownKey.of(record).model_dump(mode="json")


def _may(grant: dict[str, Any]) -> str:
    """What a key may do, in words."""
    if grant["kind"] == "operator":
        return f"operator key, {grant['role']}"
    limits = [
        f"{grant[limit]} {limit.replace('_', ' ')}" for limit in Limit if grant[limit] is not None
    ]
    return f"client key for {' '.join(grant['workflows'])}, {', '.join(limits) or 'no limits'}"
