"""A request that its adapter's engine fails goes on to the route's next target, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.engine.base import Delta, GenerationRequest
from gateway.engine.stream import DeltaStream
from gateway.errors import EngineFault, EngineUnavailable, GatewayError, QueueFull
from tests.gateway.conftest import World, start

ROUTES = """\
version: 1
workflows:
  triage:
    target: triage@2
    fallback: triage@1
    on_error: [engine, overload]
    max_tokens: 8
    temperature: 0
  strict:
    target: triage@2
    on_error: [overload]
"""


@pytest.fixture
async def chain(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    running = await start(tiny_files, tmp_path)
    yield running
    await running.gateway.stop()


def fail(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    error: GatewayError,
    *versions: str,
    after: int = 0,
) -> None:
    """Have requests for these versions of the adapter fail, after so many deltas."""
    generate = world.engine.generate

    def failing(request: GenerationRequest) -> DeltaStream:
        if request.adapter is None or request.adapter.ref.version not in versions:
            return generate(request)
        if not after:
            raise error
        stream = DeltaStream(request.n, lambda: None)
        for _ in range(after):
            stream.deliver(Delta(0, "x", (5,)))
        stream.deliver(error)
        return stream

    monkeypatch.setattr(world.engine, "generate", failing)


async def ask(world: World, workflow: str = "triage", *, stream: bool = False) -> httpx.Response:
    body = {"model": workflow, "prompt": "fox", "max_tokens": 4, "stream": stream}
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        return await http.post("/v1/completions", json=body)


def counted(world: World, origin: str, to: str, error: str) -> bool:
    metric = f'gateway_request_fallbacks_total{{error="{error}",from_target="{origin}",'
    metric += f'to_target="{to}",workflow="triage"}} 1.0'
    text = httpx.get(f"{world.inference}/metrics").text
    return metric in text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EngineFault("no"), "engine"),
        (EngineUnavailable("no"), "engine"),
        (QueueFull("no", retry_after_s=1), "overload"),
    ],
)
async def test_it_goes_on_to_the_previous_version(
    chain: World, monkeypatch: pytest.MonkeyPatch, error: GatewayError, kind: str, stream: bool
) -> None:
    fail(chain, monkeypatch, error, "2")
    answer = await ask(chain, stream=stream)
    assert answer.status_code == 200
    assert answer.headers["x-gateway-target"] == "triage@1"
    assert answer.headers["x-gateway-reason"] == "fallback"
    assert answer.headers["x-gateway-fallback"] == f"triage@2;{kind}"
    assert await asyncio.to_thread(counted, chain, "triage@2", "triage@1", kind)


async def test_and_from_there_to_the_base_and_no_further(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(chain, monkeypatch, EngineFault("no"), "1", "2")
    answer = await ask(chain)
    assert answer.headers["x-gateway-target"] == "base"
    assert answer.headers["x-gateway-fallback"] == "triage@2;engine, triage@1;engine"


async def test_a_route_that_does_not_name_the_error_gives_it_to_the_client(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(chain, monkeypatch, EngineFault("no"), "2")
    answer = await ask(chain, "strict")
    assert answer.status_code == 500
    assert answer.headers["x-gateway-target"] == "triage@2"
    assert "x-gateway-fallback" not in answer.headers


async def test_a_stream_that_has_begun_is_not_gone_on_with_by_another_model(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(chain, monkeypatch, EngineFault("no"), "2", after=2)
    answer = await ask(chain, stream=True)
    assert answer.headers["x-gateway-target"] == "triage@2"
    assert "event: error" in answer.text
    assert "[DONE]" not in answer.text


async def test_an_answer_that_is_sent_whole_begins_anew(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(chain, monkeypatch, EngineFault("no"), "2", after=2)
    answer = await ask(chain)
    assert answer.headers["x-gateway-target"] == "triage@1"
    assert answer.json()["usage"]["completion_tokens"] == 4
    assert "xx" not in answer.json()["choices"][0]["text"]
