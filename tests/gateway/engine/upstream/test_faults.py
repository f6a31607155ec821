"""What fails at one server succeeds at another while nothing was answered, and never after."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.engine.base import FinishReason
from gateway.engine.upstream.engine import UpstreamEngine
from gateway.engine.upstream.faults import Fault
from gateway.engine.upstream.options import Timeouts
from gateway.errors import BadInput, EngineFault, EngineUnavailable, QueueFull
from tests.gateway.engine.upstream.conftest import Start, answer, request, text_of, until
from tests.gateway.engine.upstream.scripted import MODEL, ScriptedServer

QUICK = Timeouts(first_token_s=0.3, idle_s=0.3, check_s=0.3, check_every_s=0.05)


@pytest.fixture
async def engine(servers: list[ScriptedServer], start: Start) -> UpstreamEngine:
    """Over all three."""
    return await start(servers)


def all_do(servers: list[ScriptedServer], **script: Any) -> None:
    """What every server does from now on."""
    for server in servers:
        for name, value in script.items():
            setattr(server.script, name, value)


async def home_of(servers: list[ScriptedServer], engine: UpstreamEngine) -> ScriptedServer:
    """The server that these requests go to; it has answered one."""
    await answer(engine, request())
    return next(server for server in servers if server.bodies)


def asked(servers: list[ScriptedServer]) -> int:
    return sum(len(server.bodies) for server in servers)


async def test_an_answer_is_passed_on_token_by_token(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    all_do(servers, hold_after=2)
    stream = aiter(engine.generate(request(tokens=4)))
    said = ""
    while len(said) < 2:
        said += (await anext(stream)).text
    assert said == "Aa"  # while it is held there
    for server in servers:
        server.script.go_on.set()
    assert "".join([delta.text async for delta in stream]) == "bc"


async def test_a_connection_is_used_again(servers: list[ScriptedServer], start: Start) -> None:
    engine = await start(servers, timeouts=Timeouts(check_every_s=60))
    for _ in range(5):
        await answer(engine, request())
        await until(lambda: all(one.choices == 0 for one in engine.stats().servers))
    # Or the one that the server's first health check had left.
    assert len({port for server in servers for port in server.callers}) <= 2


async def test_requests_with_one_beginning_go_to_one_server(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    for _ in range(5):
        await answer(engine, request())
    assert sorted(len(server.bodies) for server in servers) == [0, 0, 5]


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_refusal_before_the_first_token_is_tried_elsewhere(
    servers: list[ScriptedServer], engine: UpstreamEngine, status: int
) -> None:
    home = await home_of(servers, engine)
    home.script.refuse = status
    assert await text_of(engine, request()) == "Aabc"
    assert engine.stats().retries == 1
    kind = Fault.FULL if status in (503, 429) else Fault.BROKEN
    faults = {one.name: one.faults for one in engine.stats().servers}
    assert faults[home.url] == {kind.value: 1}


async def test_a_server_that_died_loses_no_request(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    home = await home_of(servers, engine)
    home.script.hold_first = asyncio.Event()
    waiting = [asyncio.create_task(text_of(engine, request())) for _ in range(3)]
    await until(lambda: len(home.bodies) == 4)
    await home.kill()
    assert await asyncio.gather(*waiting) == ["Aabc"] * 3
    assert await text_of(engine, request()) == "Aabc"


async def test_a_stream_that_breaks_off_ends_with_an_error_and_is_not_begun_again(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    all_do(servers, die_after=2)
    said = ""

    async def read() -> None:
        nonlocal said
        async for delta in engine.generate(request()):
            said += delta.text

    with pytest.raises(EngineFault):
        await read()
    assert said == "Aa"
    assert asked(servers) == 1


async def test_a_slow_first_token_is_tried_elsewhere_and_a_slow_next_one_is_an_error(
    servers: list[ScriptedServer], start: Start
) -> None:
    engine = await start(servers, timeouts=QUICK)
    home = await home_of(servers, engine)
    home.script.hold_first = asyncio.Event()
    assert await text_of(engine, request()) == "Aabc"
    home.script.hold_first = None
    all_do(servers, hold_after=1)
    with pytest.raises(EngineFault):
        await answer(engine, request())


async def ejected(servers: list[ScriptedServer], engine: UpstreamEngine) -> ScriptedServer:
    """Have the server that these requests go to fail until it is ejected."""
    home = await home_of(servers, engine)
    home.script.refuse = 500
    for _ in range(3):
        await answer(engine, request())
    assert len(home.bodies) == 4
    home.script.refuse = 0
    return home


def circuit(engine: UpstreamEngine, server: ScriptedServer) -> str:
    return next(one.circuit for one in engine.stats().servers if one.name == server.url)


async def test_failures_in_a_row_eject_a_server(
    servers: list[ScriptedServer], start: Start
) -> None:
    engine = await start(servers, pause_s=60)
    home = await ejected(servers, engine)
    assert circuit(engine, home) == "open"
    for _ in range(3):
        assert await text_of(engine, request()) == "Aabc"
    assert len(home.bodies) == 4  # it was not asked


async def test_a_trial_brings_an_ejected_server_back(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    home = await ejected(servers, engine)
    await until(lambda: circuit(engine, home) == "half_open")
    await answer(engine, request())
    assert len(home.bodies) == 5
    await until(lambda: circuit(engine, home) == "closed")


async def test_waiting_requests_leave_a_server_whose_checks_fail(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    home = await home_of(servers, engine)
    home.script.hold_first = asyncio.Event()
    waiting = asyncio.create_task(text_of(engine, request()))
    await until(lambda: len(home.bodies) == 2)
    home.script.ill = True
    assert await waiting == "Aabc"
    await until(lambda: home.left == 1)  # the server was told to stop working on it
    assert circuit(engine, home) == "unwell"


async def test_retries_stay_inside_their_budget(
    servers: list[ScriptedServer], start: Start
) -> None:
    engine = await start(servers, retry_share=0.0)
    engine._dispatcher._budget = engine._dispatcher._budget.__class__(share=0, most=1, held=1)
    all_do(servers, refuse=429)
    with pytest.raises(QueueFull):
        await answer(engine, request())
    assert asked(servers) == 2
    with pytest.raises(QueueFull):
        await answer(engine, request())
    assert asked(servers) == 3


async def test_full_servers_say_when_to_come_again(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    all_do(servers, refuse=503)
    with pytest.raises(QueueFull) as caught:
        await answer(engine, request())
    assert caught.value.retry_after_s == 7
    assert engine.stats().healthy  # being full is no illness


async def test_a_server_never_gets_more_than_it_may(
    servers: list[ScriptedServer], start: Start
) -> None:
    all_do(servers, hold_first=asyncio.Event())
    engine = await start(servers, requests=1)
    streams = [engine.generate(request()) for _ in range(3)]
    await until(lambda: asked(servers) == 3)
    assert [len(server.bodies) for server in servers] == [1, 1, 1]
    with pytest.raises(QueueFull):
        engine.generate(request())
    for stream in streams:
        stream.cancel()


async def test_a_request_that_can_never_succeed_is_not_tried_again(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    all_do(servers, refuse=400)
    with pytest.raises(BadInput):
        await answer(engine, request())
    assert asked(servers) == 1


async def test_an_error_in_the_stream_is_no_answer(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    all_do(servers, fail_in_stream=True)
    with pytest.raises(EngineFault):
        await answer(engine, request())
    assert asked(servers) == 3  # nothing of it was answered: all were tried


async def test_with_no_server_left_the_engine_says_so_and_comes_back_by_itself(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    for server in servers:
        await server.kill()
    with pytest.raises(EngineUnavailable):
        await answer(engine, request())
    await until(lambda: not engine.stats().healthy)
    for server in servers:
        await server.start()
    await until(lambda: engine.stats().healthy)
    assert await text_of(engine, request()) == "Aabc"


async def test_cancelling_ends_the_stream_and_the_servers_work(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    all_do(servers, hold_after=1)
    stream = engine.generate(request(n=2, temperature=1))
    deltas = []
    async for delta in stream:
        deltas.append(delta)
        if len(deltas) == 2:
            stream.cancel()
    assert [delta.finish for delta in deltas[2:]] == [FinishReason.CANCELLED] * 2
    await until(lambda: sum(server.left for server in servers) == 1)
    stats = engine.stats()
    assert (stats.running_rows, stats.queue_depth) == (0, 0)
    assert [one.tokens for one in stats.servers] == [0, 0, 0]


async def test_closing_lets_running_requests_end_within_the_grace_time(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    all_do(servers, hold_after=1)
    running = asyncio.create_task(text_of(engine, request()))
    await until(lambda: engine.stats().running_rows == 1)
    closing = asyncio.create_task(engine.close(grace_s=10))
    await asyncio.sleep(0)
    with pytest.raises(EngineFault):
        engine.generate(request())
    for server in servers:
        server.script.go_on.set()
    assert await running == "Aabc"
    await closing


async def test_choices_without_chance_are_asked_for_once(
    servers: list[ScriptedServer], engine: UpstreamEngine
) -> None:
    deltas = await answer(engine, request(n=3))
    assert [body["n"] for server in servers for body in server.bodies] == [1]
    for index in range(3):
        assert "".join(d.text for d in deltas if d.index == index) == "Aabc"


async def test_background_work_gives_way_and_is_whole_in_the_end(
    servers: list[ScriptedServer], start: Start
) -> None:
    server = servers[0]
    server.script.hold_after = 2
    engine = await start([server], background_queue=1)
    unhurried = replace(request(), background=True)
    work = asyncio.create_task(text_of(engine, unhurried))
    await until(lambda: engine.stats().background_rows == 1)
    with pytest.raises(QueueFull):
        engine.generate(unhurried)
    live = asyncio.create_task(text_of(engine, request()))
    await until(lambda: server.left == 1)  # the background request left its place
    await until(lambda: engine.stats().running_rows == 1)
    assert engine.stats().background_rows == 0  # and does not come back while it is needed
    server.script.go_on.set()
    assert await live == "Aabc"
    assert await work == "Aabc"
    assert engine.stats().background_preemptions == 1


async def test_servers_that_come_later_are_learned_from_and_strangers_get_nothing(
    servers: list[ScriptedServer], start: Start
) -> None:
    one, stranger = servers[:2]
    stranger.base = "another"
    for server in (one, stranger):
        await server.kill()
    engine = await start([one, stranger], model="")
    with pytest.raises(EngineUnavailable):
        await answer(engine, request())
    await one.start()
    await until(lambda: circuit(engine, one) == "closed")
    assert await text_of(engine, request()) == "Aabc"
    await stranger.start()
    for n in range(20):
        await answer(engine, request(prompt=(n, 6, 7)))
    assert not stranger.bodies
    assert circuit(engine, stranger) == "unwell"


async def test_an_engine_does_not_start_over_servers_of_another_model(
    servers: list[ScriptedServer], start: Start
) -> None:
    servers[1].base = "another"
    with pytest.raises(BadInput, match="set server_model"):
        await start(servers)
    servers[1].base = MODEL
    servers[2].shift = 1
    with pytest.raises(BadInput, match="another tokenizer"):
        await start(servers)


async def test_a_request_that_is_cancelled_before_it_has_run_ends_too(
    engine: UpstreamEngine,
) -> None:
    stream = engine.generate(request())
    await engine.close()
    assert [delta.finish async for delta in stream] == [FinishReason.CANCELLED]
