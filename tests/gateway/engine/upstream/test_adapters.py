"""Adapters on servers: named by digest, loaded where needed, put right by what is listed."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.engine.upstream.files import shared_path
from gateway.engine.upstream.naming import digest_of, name_of
from gateway.errors import AdapterRejected, EngineFault, EngineUnavailable
from tests.gateway.engine.upstream.conftest import (
    Files,
    Start,
    answer,
    request,
    text_of,
    until,
)
from tests.gateway.engine.upstream.scripted import MODEL, ScriptedServer


def test_a_name_carries_the_digest_and_nothing_else_is_taken_for_one() -> None:
    digest = "0123456789abcdef" * 4
    assert digest_of(name_of(digest)) == digest
    for other in (MODEL, "adapter-", name_of(digest) + "0", name_of("x" * 64), "a@1"):
        assert digest_of(other) is None


def test_a_shared_folder_may_have_another_name_there() -> None:
    folder = Path("/srv/registry/triage/3")
    assert shared_path(folder, "") == "/srv/registry/triage/3"
    assert shared_path(folder, "/adapters") == "/adapters/triage/3"


async def test_an_adapter_is_made_resident_on_as_many_servers_as_wanted(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    engine = await start(servers, copies=2)
    one = upstream_files.adapters[0]
    await engine.make_resident(one)
    held = [server for server in servers if server.adapters]
    assert len(held) == 2
    assert held[0].adapters == {name_of(one.digest): str(one.path.resolve())}
    assert engine.stats().resident_adapters == (one.digest,)
    await answer(engine, request(one))
    assert sum(len(server.bodies) for server in held) == 1  # it went to where it is


async def test_a_request_loads_what_is_not_there_once_for_all_who_wait(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    server = servers[0]
    server.script.hold_loads = asyncio.Event()
    engine = await start([server])
    waiting = [
        asyncio.create_task(text_of(engine, request(upstream_files.adapters[0]))) for _ in range(4)
    ]
    await until(lambda: len(server.loads) == 1)
    server.script.hold_loads.set()
    assert await asyncio.gather(*waiting) == ["Cabc"] * 4
    assert len(server.loads) == 1


async def test_one_that_another_gateway_took_out_is_loaded_again_for_the_request(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    server = servers[0]
    engine = await start([server])
    one = upstream_files.adapters[0]
    await engine.make_resident(one)
    server.adapters.clear()
    assert (await text_of(engine, request(one))).endswith("abc")
    assert server.loads == [name_of(one.digest)] * 2
    assert engine.stats().servers[0].faults == {"missing": 1}


async def test_a_server_that_was_started_again_gets_its_pinned_adapters_back(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    server = servers[0]
    engine = await start([server])
    pinned, other = upstream_files.adapters[:2]
    await engine.make_resident(pinned)
    await engine.make_resident(other)
    engine.set_pinned({pinned.digest})
    await server.kill()
    await until(lambda: not engine.stats().healthy)
    assert engine.stats().resident_adapters == ()  # what it will come back with is not known
    await server.start()
    await until(lambda: list(server.adapters) == [name_of(pinned.digest)])
    await until(lambda: engine.stats().resident_adapters == (pinned.digest,))


async def test_what_others_loaded_is_taken_over_and_strangers_are_left_alone(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    server = servers[0]
    one = upstream_files.adapters[0]
    server.adapters = {name_of(one.digest): "/elsewhere", "somebodys": "/x"}
    engine = await start([server], adapters=1)
    await answer(engine, request())
    await until(lambda: engine.stats().resident_adapters == (one.digest,))
    await answer(engine, request(one))
    assert server.loads == []
    await answer(engine, request(upstream_files.adapters[1]))  # makes room
    assert server.unloads == [name_of(one.digest)]
    assert "somebodys" in server.adapters


async def test_the_least_used_goes_first_the_pinned_last_and_none_that_is_in_use(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    server = servers[0]
    engine = await start([server], adapters=2)
    one, two, three = upstream_files.adapters
    for adapter in (one, two):
        await answer(engine, request(adapter))
    engine.set_pinned({one.digest})
    await answer(engine, request(three))
    assert server.unloads == [name_of(two.digest)]  # one is older, but pinned
    server.script.hold_after = 1
    running = [engine.generate(request(adapter)) for adapter in (one, three)]
    await until(lambda: engine.stats().running_rows == 2)
    with pytest.raises(Exception, match="every server has as many"):
        await answer(engine, request(two))
    assert server.unloads == [name_of(two.digest)]
    for stream in running:
        stream.cancel()


async def test_an_answer_by_another_model_is_an_error_and_counted(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    engine = await start(servers)
    for server in servers:
        server.script.answer_as = MODEL
    with pytest.raises(EngineFault):
        await answer(engine, request(upstream_files.adapters[0]))
    faults = [one.faults for one in engine.stats().servers]
    assert faults == [{"wrong_model": 1}] * 3


async def test_a_load_that_servers_refuse_rejects_the_adapter_with_their_reason(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    engine = await start(servers)
    for server in servers:
        server.script.refuse_loads = "rank 64 is over max_lora_rank"
    one = upstream_files.adapters[0]
    with pytest.raises(AdapterRejected, match="rank 64 is over"):
        await engine.make_resident(one)
    with pytest.raises(AdapterRejected, match="rank 64 is over"):
        await answer(engine, request(one))
    assert engine.stats().resident_adapters == ()
    assert engine.stats().adapter_load_failures >= 3
    assert engine.stats().healthy


async def test_servers_that_are_away_do_not_make_an_adapter_bad(
    servers: list[ScriptedServer], start: Start, upstream_files: Files
) -> None:
    engine = await start(servers)
    for server in servers:
        await server.kill()
    with pytest.raises(EngineUnavailable):
        await engine.make_resident(upstream_files.adapters[0])


async def test_what_is_no_adapter_of_this_base_never_reaches_a_server(
    servers: list[ScriptedServer], start: Start, upstream_files: Files, tmp_path: Path
) -> None:
    engine = await start(servers, max_rank=16)
    one = upstream_files.adapters[0]
    with pytest.raises(AdapterRejected, match="trained on base 0000"):
        await engine.make_resident(replace(one, base_fingerprint="0" * 64))
    copy = Path(shutil.copytree(one.path, tmp_path / "copy"))
    (copy / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(AdapterRejected, match="cannot be read"):
        await engine.make_resident(replace(one, path=copy))
    assert not any(server.loads for server in servers)
