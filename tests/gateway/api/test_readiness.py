"""A gateway that is not ready serves nobody, and readiness tells a stranger no names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.access.values import Role
from tests.gateway.api.test_operator_keys import make
from tests.gateway.conftest import World, start


@pytest.fixture
async def without_log(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    """A replica that starts while its Redis is away, and has no copy of the log."""
    with socket.socket() as nobody:  # bound and not listening: the port is nobody else's
        nobody.bind(("127.0.0.1", 0))
        state = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        running = await start(tiny_files, tmp_path, state=state, local_state=tmp_path / "local")
        yield running
        await running.gateway.stop()


async def ask(world: World, path: str, key: str = "", **body: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=world.inference, timeout=30) as client:
        method = "POST" if body else "GET"
        return await client.request(method, path, json=body or None, headers=headers)


async def test_before_the_log_was_read_nobody_is_served_as_it_is_not_known_who_holds_a_key(
    without_log: World,
) -> None:
    answer = await ask(without_log, "/v1/completions", model="base", prompt="fox", max_tokens=1)
    assert answer.status_code == 503
    assert "redis" not in answer.text
    assert (await ask(without_log, "/v1/models")).status_code == 503
    ready = await ask(without_log, "/health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert "of its copy" in ready.json()["control"]


async def test_readiness_tells_names_and_paths_to_operators_alone_once_there_is_one(
    world: World,
) -> None:
    world.settings.routes.write_text("version: 1\nworkflows: {triage: {target: nobody@7}}\n")
    await world.until(lambda: not world.gateway.plane.file_status.ok)
    open_to_all = (await ask(world, "/health/ready")).json()
    assert "nobody@7" in str(open_to_all["routes_file"])
    key = await make(world, "probe", Role.VIEWER)
    stranger = (await ask(world, "/health/ready")).json()
    assert stranger == open_to_all | {"routes_file": "not accepted", "revision": 2}
    operator = (await ask(world, "/health/ready", key)).json()
    assert operator == open_to_all | {"revision": 2}


async def test_a_stop_does_not_wait_for_those_who_follow_the_events(
    tiny_files: Path, tmp_path: Path
) -> None:
    world = await start(tiny_files, tmp_path, grace_s=3600)
    async with (
        httpx.AsyncClient(base_url=world.admin, timeout=60) as client,
        client.stream("GET", "/admin/v1/events", headers={"last-event-id": "0"}) as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == "id: 1"
        async with asyncio.timeout(60):
            await world.gateway.stop()
        assert "id: 2" not in [line async for line in lines]
