"""The upstream engine over real vLLM servers, and what is done to them. In this order: the servers
are shared, and each test leaves them running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from gateway.engine.base import Delta, GenerationRequest, SamplingParams
from gateway.engine.upstream.engine import UpstreamEngine
from gateway.engine.upstream.naming import name_of
from gateway.engine.upstream.options import Timeouts
from gateway.errors import AdapterRejected, EngineFault, QueueFull
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from tests import tiny
from tests.gateway.engine.conftest import QUEUE
from tests.gateway.engine.real import Files, upstream_over
from tests.gateway.engine.test_mixed_batches import alone
from tests.gateway.engine.upstream.conftest import until
from tests.gateway.engine.vllm_server import VllmServer

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

PROMPT = tuple(range(20, 40))
Over = Callable[..., Awaitable[UpstreamEngine]]


@pytest.fixture
async def over(contract_files: Files) -> AsyncIterator[Over]:
    """Make an engine over servers; closed at the end."""
    made: list[UpstreamEngine] = []

    async def make(
        *servers: VllmServer, timeouts: Timeouts | None = None, **more: object
    ) -> UpstreamEngine:
        urls = [server.url for server in servers]
        engine = upstream_over(contract_files, *urls, timeouts=timeouts, **more)
        await asyncio.to_thread(engine.start)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.close()


def request(
    adapter: AdapterArtifact | None, tokens: int = 8, prompt: tuple[int, ...] = PROMPT
) -> GenerationRequest:
    sampling = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True)
    return GenerationRequest("real", prompt, sampling, adapter)


async def tokens(engine: UpstreamEngine, asked: GenerationRequest) -> list[int]:
    return [token async for delta in engine.generate(asked) for token in delta.token_ids]


def home_of(engine: UpstreamEngine, *servers: VllmServer) -> VllmServer:
    """The server that has a request now."""
    name = next(one.name for one in engine.stats().servers if one.choices)
    return next(server for server in servers if server.url == name)


async def test_an_unload_in_flight_hurts_no_answer_and_the_next_loads_again(
    vllm_server: VllmServer, contract_files: Files, over: Over
) -> None:
    engine = await over(vllm_server)
    one = contract_files.adapters[0]
    await engine.make_resident(one)
    stream = aiter(engine.generate(request(one, 120)))
    deltas = [await anext(stream)]
    async with httpx.AsyncClient(base_url=vllm_server.url, timeout=30) as http:
        answer = await http.post("/v1/unload_lora_adapter", json={"lora_name": name_of(one.digest)})
        assert answer.status_code == 200
    deltas += [delta async for delta in stream]
    said = [token for delta in deltas for token in delta.token_ids]
    assert said == alone(contract_files.model, one, PROMPT, 120)
    assert await tokens(engine, request(one)) == said[:8]
    assert engine.stats().adapter_loads in (1, 2)  # 1: what was there from another test


async def test_an_adapter_that_the_server_cannot_hold_is_refused_with_its_reason(
    vllm_server: VllmServer, contract_files: Files, over: Over, tmp_path: Path
) -> None:
    folder = tiny.make_tiny_adapter(tmp_path / "big", contract_files.model, rank=64)
    big = tiny.publish(Registry(tmp_path / "registry"), folder, "big@1", contract_files.model)
    engine = await over(vllm_server, max_rank=64)
    with pytest.raises(AdapterRejected, match="rank"):
        await engine.make_resident(big)
    with pytest.raises(AdapterRejected, match="rank"):
        await tokens(engine, request(big))
    assert await tokens(engine, request(None)) == alone(contract_files.model, None, PROMPT, 8)


async def test_what_a_server_does_not_have_is_never_answered_by_its_base(
    vllm_server: VllmServer, contract_files: Files, over: Over, tmp_path: Path
) -> None:
    folder = tiny.make_tiny_adapter(tmp_path / "other", contract_files.model, seed=5)
    other = tiny.publish(Registry(tmp_path / "registry"), folder, "other@1", contract_files.model)
    blind = await over(vllm_server, adapter_root="/nowhere")  # the server cannot read it there
    with pytest.raises(AdapterRejected):
        await tokens(blind, request(other))
    engine = await over(vllm_server)
    assert await tokens(engine, request(other)) == alone(contract_files.model, other, PROMPT, 8)
    async with httpx.AsyncClient(base_url=vllm_server.url, timeout=30) as http:
        await http.post("/v1/unload_lora_adapter", json={"lora_name": name_of(other.digest)})
    assert await tokens(engine, request(other)) == alone(contract_files.model, other, PROMPT, 8)


async def test_a_full_queue_is_told_as_such_and_empties(
    vllm_server: VllmServer, contract_files: Files, over: Over
) -> None:
    engine = await over(vllm_server, requests=64)
    outcomes = await asyncio.gather(
        *(tokens(engine, request(None, 150, (n, *PROMPT))) for n in range(5, 5 + 3 * QUEUE)),
        return_exceptions=True,
    )
    full = [one for one in outcomes if isinstance(one, QueueFull)]
    answered = [one for one in outcomes if isinstance(one, list)]
    assert len(full) + len(answered) == 3 * QUEUE
    assert full
    assert len(answered) >= QUEUE
    assert engine.stats().healthy
    assert await tokens(engine, request(None)) == alone(contract_files.model, None, PROMPT, 8)


async def test_what_one_server_is_too_full_for_another_takes(
    vllm_server: VllmServer, second_vllm_server: VllmServer, over: Over
) -> None:
    engine = await over(vllm_server, second_vllm_server, requests=64, retry_share=1.0)
    asked = [request(None, 100, (*PROMPT, n)) for n in range(5, 5 + QUEUE + 4)]
    answers = await asyncio.gather(*(tokens(engine, one) for one in asked))
    assert {len(one) for one in answers} == {100}


async def test_a_frozen_server_keeps_no_request_and_comes_back(
    vllm_server: VllmServer, second_vllm_server: VllmServer, contract_files: Files, over: Over
) -> None:
    servers = (vllm_server, second_vllm_server)
    timeouts = Timeouts(first_token_s=60, check_s=1, check_every_s=0.5)
    engine = await over(*servers, timeouts=timeouts)
    one = contract_files.adapters[0]
    await engine.make_resident(one)
    stream = aiter(engine.generate(request(one, 60)))
    await anext(stream)
    home = home_of(engine, *servers)
    async for _ in stream:
        pass
    home.freeze()
    try:
        assert await tokens(engine, request(one)) == alone(contract_files.model, one, PROMPT, 8)
        frozen = next(s for s in engine.stats().servers if s.name == home.url)
        assert frozen.faults  # by its checks (ejected) or the time limit (slow)
    finally:
        home.thaw()
    await until(lambda: all(s.circuit == "closed" for s in engine.stats().servers), 60)


async def test_a_server_that_is_too_slow_for_a_first_token_loses_the_request_to_another(
    vllm_server: VllmServer, second_vllm_server: VllmServer, contract_files: Files, over: Over
) -> None:
    servers = (vllm_server, second_vllm_server)
    # Its health is not asked meanwhile: the time limit alone decides.
    timeouts = Timeouts(first_token_s=8, check_s=5, check_every_s=600)
    engine = await over(*servers, timeouts=timeouts)
    stream = aiter(engine.generate(request(None, 60)))
    await anext(stream)
    home = home_of(engine, *servers)
    async for _ in stream:
        pass
    home.freeze()
    try:
        assert await tokens(engine, request(None)) == alone(contract_files.model, None, PROMPT, 8)
        slow = next(one for one in engine.stats().servers if one.name == home.url)
        assert slow.faults == {"slow": 1}
    finally:
        home.thaw()


async def test_a_killed_server_ends_its_stream_with_an_error_loses_no_other_request_and_comes_back(
    vllm_server: VllmServer, second_vllm_server: VllmServer, contract_files: Files, over: Over
) -> None:
    servers = (vllm_server, second_vllm_server)
    engine = await over(*servers)
    one = contract_files.adapters[0]
    await engine.make_resident(one)
    engine.set_pinned({one.digest})
    stream = aiter(engine.generate(request(one, 200)))
    deltas: list[Delta] = [await anext(stream)]
    home = home_of(engine, *servers)
    home.kill()
    others = [asyncio.create_task(tokens(engine, request(one))) for _ in range(4)]
    with pytest.raises(EngineFault):
        deltas.extend([delta async for delta in stream])
    expected = alone(contract_files.model, one, PROMPT, 8)
    assert await asyncio.gather(*others) == [expected] * 4
    await until(
        lambda: next(s for s in engine.stats().servers if s.name == home.url).circuit != "closed"
    )
    await asyncio.to_thread(home.start)
    # It holds nothing, lists nothing, and is given the pinned adapter again by itself.
    await until(
        lambda: next(s for s in engine.stats().servers if s.name == home.url).adapters == 1, 60
    )
    async with httpx.AsyncClient(base_url=home.url, timeout=30) as http:
        listed = (await http.get("/v1/models")).json()["data"]
    assert name_of(one.digest) in [model["id"] for model in listed]
