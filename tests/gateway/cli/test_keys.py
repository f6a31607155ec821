"""`gateway keys`: a secret is printed once and works at once, with the gateway up or down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.gateway.cli.conftest import NOBODY, Cli
from tests.gateway.conftest import World, start


async def asks(world: World, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=world.inference, headers=headers) as http:
        return (await http.get("/v1/models/triage")).status_code


async def test_a_client_key_is_made_listed_used_and_revoked(cli: Cli, world: World) -> None:
    limits = ("--workflow", "tri*", "--requests-per-minute", "60", "--tokens-per-minute", "9000")
    made = await cli("keys", "create", "app", *limits, "--reason", "the app goes live")
    assert made.code == 0, made.err
    secret = made.out.strip()
    assert secret.startswith("gwk_")
    assert "shown once" in made.err
    assert await asks(world, secret) == 200
    assert await asks(world, "other") == 401

    listed = await cli("keys", "list")
    assert (
        "client key for tri*, 60 requests per minute, 9000 tokens per minute; made " in listed.out
    )
    assert secret not in listed.out
    assert secret not in (await cli("keys", "list", "--json")).out

    revoked = await cli("keys", "revoke", "app", "--reason", "leaked")
    assert revoked.out == "key app is revoked at revision 3\n"
    assert await asks(world, secret) == 401
    assert "REVOKED" in (await cli("keys", "list")).out
    again = await cli("keys", "revoke", "app", "--reason", "again")
    assert again.code == 1
    assert "revoked already" in again.err


async def test_once_there_is_an_operator_key_commands_need_one(cli: Cli, tmp_path: Path) -> None:
    made = await cli("keys", "create", "ops", "--role", "operator", "--json")
    assert made.json["key"]["grant"] == {"kind": "operator", "role": "operator"}
    refused = await cli("routes")
    assert refused.code == 1
    assert "GATEWAY_ADMIN_KEY" in refused.err
    holder = replace(cli, key=made.json["secret"])
    done = await holder("disable", "triage", "--reason", "wrong", "--json")
    assert done.json["event"]["actor"] == "key:ops"
    too_low = await holder("keys", "create", "friend")
    assert too_low.code == 1
    assert "this needs an approver" in too_low.err


async def test_a_key_file_serves_as_well(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await cli("keys", "create", "ops", "--role", "viewer")
    file = tmp_path / "key"
    file.write_text(made.out)
    monkeypatch.setenv("GATEWAY_ADMIN_KEY_FILE", str(file))
    assert (await cli("routes")).code == 0
    monkeypatch.setenv("GATEWAY_ADMIN_KEY_FILE", str(tmp_path / "none"))
    missing = await cli("routes")
    assert missing.code == 2
    assert str(tmp_path / "none") in missing.err


async def test_past_a_running_gateway_and_while_it_is_down_keys_go_to_the_log(
    tiny_files: Path, tmp_path: Path
) -> None:
    world = await start(tiny_files, tmp_path)
    cli = Cli(world.admin, str(world.settings.state))
    made = await cli("keys", "create", "boss", "--role", "approver", "--offline")
    await world.until(lambda: bool(world.gateway.plane.state.keys))
    holder = replace(cli, key=made.out.strip())
    assert (await holder("keys", "list")).code == 0
    await world.gateway.stop()

    down = Cli(NOBODY, cli.state)
    assert "operator key, approver" in (await down("keys", "list", "--offline")).out
    revoked = await down("keys", "revoke", "boss", "--reason", "left")
    assert "written to the log" in revoked.out
    world = await start(tiny_files, tmp_path)
    try:
        holder = replace(holder, admin=world.admin)
        assert (await holder("keys", "list")).code == 1
    finally:
        await world.gateway.stop()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Bad Name",), "key name 'Bad Name'"),
        (("ok", "--workflow", "a b"), "workflow pattern 'a b'"),
        (("ok", "--role", "viewer", "--workflow", "a"), "a client key's"),
        (("ok", "--requests-per-minute", "0"), "1 is the least"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_before_anything_is_sent(
    cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    done = await cli("keys", "create", *arguments)
    assert done.code == 2
    assert said in done.err
