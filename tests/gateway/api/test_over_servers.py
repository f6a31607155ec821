"""The whole gateway over servers: routes, disable, rollback of a server's failure, readiness."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.engine.upstream.naming import name_of
from tests.gateway.cli.conftest import Cli
from tests.gateway.conftest import World, start
from tests.gateway.engine.upstream.scripted import MODEL, ScriptedServer


@pytest.fixture
async def servers() -> AsyncIterator[list[ScriptedServer]]:
    made = [ScriptedServer() for _ in range(2)]
    for server in made:
        await server.start()
    yield made
    for server in made:
        await server.kill()


@pytest.fixture
async def over(
    servers: list[ScriptedServer], tiny_files: Path, tmp_path: Path
) -> AsyncIterator[World]:
    running = await start(
        tiny_files,
        tmp_path,
        engine="upstream",
        servers=",".join(server.url for server in servers),
        server_check_s=0.1,
    )
    yield running
    await running.gateway.stop()


async def ask(world: World, workflow: str, **more: object) -> httpx.Response:
    body = {"model": workflow, "messages": [{"role": "user", "content": "fox"}], "max_tokens": 3}
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        return await http.post("/v1/chat/completions", json=body | more)


def asked(servers: list[ScriptedServer]) -> list[str]:
    return [body["model"] for server in servers for body in server.bodies]


async def test_a_workflow_is_answered_by_its_adapter_and_after_a_disable_by_the_base(
    over: World, servers: list[ScriptedServer]
) -> None:
    digest = next(a.digest for a in over.gateway.plane.artifacts.values() if a.ref.version == "1")
    answer = await ask(over, "triage")
    assert answer.headers["x-gateway-target"] == "triage@1"
    assert answer.json()["choices"][0]["message"]["content"].endswith("ab")
    assert asked(servers) == [name_of(digest)]
    done = await over.order("POST", "/workflows/triage/disable", actor="me", reason="bad")
    assert done.status_code == 200
    answer = await ask(over, "triage")
    assert answer.headers["x-gateway-target"] == "base"
    assert sorted(asked(servers)) == [name_of(digest), MODEL]
    assert answer.json()["usage"]["completion_tokens"] == 3


async def test_a_stream_comes_through(over: World) -> None:
    answer = await ask(over, "triage", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.rstrip().endswith("data: [DONE]")


async def test_a_whole_answer_that_a_server_loses_is_asked_of_another(
    over: World, servers: list[ScriptedServer]
) -> None:
    await ask(over, "triage")
    home = next(server for server in servers if server.bodies)
    home.script.die_after = 2
    answer = await ask(over, "triage")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"].endswith("ab")
    assert answer.json()["usage"]["completion_tokens"] == 3
    assert len(home.bodies) == 2


async def test_an_answer_that_every_server_loses_is_asked_once_more_and_no_oftener(
    over: World, servers: list[ScriptedServer]
) -> None:
    for server in servers:
        server.script.die_after = 2
    answer = await ask(over, "triage")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "engine_error")
    assert [len(server.bodies) for server in servers] == [1, 1]


async def test_a_stream_that_its_server_loses_ends_with_an_error_and_never_begins_again(
    over: World, servers: list[ScriptedServer]
) -> None:
    for server in servers:
        server.script.die_after = 2
    answer = await ask(over, "triage", stream=True)
    assert "event: error" in answer.text
    assert "[DONE]" not in answer.text
    assert len(asked(servers)) == 1


async def test_status_and_metrics_tell_of_each_server(
    over: World, servers: list[ScriptedServer]
) -> None:
    await ask(over, "triage")
    status = (await over.order("GET", "/status")).json()
    assert [one["name"] for one in status["stats"]["servers"]] == [s.url for s in servers]
    assert status["engine"]["kind"] == "upstream"
    async with httpx.AsyncClient(base_url=over.inference) as http:
        text = (await http.get("/metrics")).text
    assert f'gateway_server_usable{{server="{servers[0].url}"}} 1.0' in text
    said = (await Cli(over.admin, str(over.settings.state))("status")).out
    assert "on 2 servers\n" in said
    assert f"server     {servers[0].url} in use, 0 requests" in said


async def test_without_a_server_it_is_not_ready_and_with_one_again_it_is(
    over: World, servers: list[ScriptedServer]
) -> None:
    for server in servers:
        await server.kill()
    answer = await ask(over, "triage")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
    assert answer.headers["x-gateway-target"] == "triage@1"  # no other model answers in its place
    await over.until(lambda: not over.gateway.engine.stats().healthy)
    async with httpx.AsyncClient(base_url=over.inference) as http:
        assert (await http.get("/health/ready")).status_code == 503
    await servers[0].start()
    await over.until(lambda: over.gateway.engine.stats().healthy)
    assert (await ask(over, "triage")).headers["x-gateway-target"] == "triage@1"


async def test_a_start_while_every_server_is_away_keeps_the_routes_adapters(
    servers: list[ScriptedServer], tiny_files: Path, tmp_path: Path
) -> None:
    urls = ",".join(server.url for server in servers)
    settings = {"engine": "upstream", "servers": urls, "server_check_s": 0.1}
    first = await start(tiny_files, tmp_path, **settings)
    await first.gateway.stop()
    for server in servers:
        await server.kill()
    again = await start(tiny_files, tmp_path, **settings)
    try:
        assert (await ask(again, "triage")).status_code == 503  # and not an answer by the base
        for server in servers:
            await server.start()
        await again.until(lambda: again.gateway.engine.stats().healthy)
        assert (await ask(again, "triage")).headers["x-gateway-target"] == "triage@1"
    finally:
        await again.gateway.stop()


async def test_a_first_start_while_every_server_is_away_waits_for_one(
    servers: list[ScriptedServer], tiny_files: Path, tmp_path: Path
) -> None:
    urls = ",".join(server.url for server in servers)
    for server in servers:
        await server.kill()
    world = await start(tiny_files, tmp_path, engine="upstream", servers=urls, server_check_s=0.1)
    try:
        async with httpx.AsyncClient(base_url=world.inference) as http:
            assert (await http.get("/health/ready")).status_code == 503
        for server in servers:
            await server.start()
        await world.until(lambda: world.gateway.plane.not_ready is None)
        assert (await ask(world, "triage")).headers["x-gateway-target"] == "triage@1"
    finally:
        await world.gateway.stop()


async def test_an_edit_while_every_server_is_away_is_taken_in_when_one_is_back(
    over: World, servers: list[ScriptedServer]
) -> None:
    for server in servers:
        await server.kill()
    await over.until(lambda: not over.gateway.engine.stats().healthy)
    routes = over.settings.routes
    routes.write_text(routes.read_text().replace("triage@1", "triage@2"))
    await over.until(lambda: not over.gateway.plane.file_status.ok)
    (problem,) = over.gateway.plane.file_status.problems
    assert "when a server of the model is back" in problem.message
    for server in servers:
        await server.start()
    await over.until(lambda: over.gateway.plane.file_status.ok)
    assert (await ask(over, "triage")).headers["x-gateway-target"] == "triage@2"
