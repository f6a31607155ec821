"""With every gateway down, the same commands read and write the log in a Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.log.location import RedisLocation, parse_location
from gateway.log.redis import RedisLog
from gateway.routing.events import Draft, RouteDisabled, TableApplied
from gateway.routing.table import BASE_TARGET, Route
from tests.gateway.cli.conftest import NOBODY, Cli
from tests.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path / "redis").start()
    yield made
    made.kill()


@pytest.fixture
def down(server: RedisServer) -> Cli:
    """No gateway runs, and the log holds a table of one workflow, enabled again once."""
    location = parse_location(server.url)
    assert isinstance(location, RedisLocation)
    log = RedisLog(location)
    log.append(
        Draft(TableApplied((Route("triage", BASE_TARGET),), "f", "d"), "file", "", 1.0), expected=0
    )
    log.append(Draft(RouteDisabled("triage"), "ada", "wrong answers", 2.0), expected=1)
    log.close()
    return Cli(NOBODY, server.url)


async def test_audit_reads_and_verifies_it(down: Cli, tmp_path: Path) -> None:
    listed = await down("audit", "list", "--offline", "--json")
    assert [e["reason"] for e in listed.json["events"]] == ["", "wrong answers"]
    file = tmp_path / "audit.jsonl"
    assert (await down("audit", "export", "--offline", "--out", str(file))).code == 0
    whole = await down("audit", "verify", "--offline", "--json")
    assert (whole.json["ok"], whole.json["events"]) == (True, 2)
    assert (await down("audit", "verify", "--file", str(file), "--json")).json == whole.json


async def test_an_edit_in_the_redis_is_found(down: Cli, server: RedisServer) -> None:
    client: Any = server.client()
    ((_, fields),) = client.xrange("{gateway}:events", "1-0", "1-0")
    client.delete("{gateway}:events")
    client.xadd("{gateway}:events", {**fields, "reason": "somebody else's"}, id="1-0")
    found = await down("audit", "verify", "--offline", "--json")
    assert found.code == 1
    assert json.loads(found.out)["ok"] is False


async def test_keys_are_made_listed_and_revoked(down: Cli) -> None:
    made = await down("keys", "create", "boss", "--role", "operator", "--offline")
    assert made.code == 0, made.err
    assert "operator key, operator" in (await down("keys", "list", "--offline")).out
    assert (await down("keys", "revoke", "boss", "-r", "left", "--offline")).code == 0
    assert (await down("audit", "verify", "--offline")).code == 0


async def test_a_disable_is_lifted(down: Cli) -> None:
    done = await down("enable", "triage")
    assert done.code == 0, done.err
    assert "at revision 3" in done.out


async def test_a_redis_that_is_away_is_named(down: Cli, server: RedisServer) -> None:
    server.kill()
    for command in (("audit", "verify"), ("keys", "list")):
        done = await down(*command, "--offline")
        assert done.code != 0
        assert f"127.0.0.1:{server.port}" in done.err


async def test_a_password_is_not_printed(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "locked", requirepass="secret").start()
    try:
        down = Cli(NOBODY, f"redis://:secret@127.0.0.1:{server.port}")
        location = parse_location(down.state)
        assert isinstance(location, RedisLocation)
        log = RedisLog(location)
        log.append(
            Draft(TableApplied((Route("w", BASE_TARGET),), "f", "d"), "f", "", 1.0), expected=0
        )
        done = await down("disable", "w", "-r", "wrong")
        assert done.code == 0, done.err
        assert "secret" not in done.out + done.err
    finally:
        server.kill()
