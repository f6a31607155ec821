"""Scripted servers, and engines over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.engine.base import Delta, GenerationRequest, SamplingParams
from gateway.engine.upstream.breaker import BreakerRule
from gateway.engine.upstream.engine import UpstreamEngine
from gateway.engine.upstream.options import ServerAddress, Timeouts, UpstreamOptions
from gateway.model.fingerprint import fingerprint
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from tests import tiny
from tests.gateway.engine.upstream.scripted import MODEL, ScriptedServer

Start = Callable[..., Awaitable[UpstreamEngine]]


@dataclass
class Files:
    """A tiny base and two adapters of it."""

    model: Path
    adapters: list[AdapterArtifact]
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprint = fingerprint(self.model)


@pytest.fixture(scope="session")
def upstream_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("upstream")
    model = tiny.make_tiny_model(root / "model")
    registry = Registry(root / "registry")
    adapters = [
        tiny.publish(
            registry, tiny.make_tiny_adapter(root / f"a{n}", model, seed=n), f"a@{n}", model
        )
        for n in (1, 2, 3)
    ]
    return Files(model, adapters)


@pytest.fixture
async def servers() -> AsyncIterator[list[ScriptedServer]]:
    """Three, all well."""
    made = [ScriptedServer() for _ in range(3)]
    for server in made:
        await server.start()
    yield made
    for server in made:
        server.script.go_on.set()
        await server.kill()


@pytest.fixture
async def start(upstream_files: Files) -> AsyncIterator[Start]:
    """Make an engine over servers; closed at the end."""
    engines: list[UpstreamEngine] = []

    async def made(
        servers: Sequence[ScriptedServer],
        *,
        timeouts: Timeouts | None = None,
        pause_s: float = 0.1,
        model: str = MODEL,
        **more: object,
    ) -> UpstreamEngine:
        options = UpstreamOptions(
            servers=tuple(ServerAddress(server.url) for server in servers),
            model=model,
            timeouts=timeouts or Timeouts(check_every_s=0.05),
            breaker=BreakerRule(pause_s=pause_s),
            **more,  # type: ignore[arg-type]
        )
        engine = UpstreamEngine(
            upstream_files.model,
            name="tiny",
            fingerprint=upstream_files.fingerprint,
            options=options,
        )
        await asyncio.to_thread(engine.start)
        engines.append(engine)
        return engine

    yield made
    for engine in engines:
        await engine.close()


def request(
    adapter: AdapterArtifact | None = None,
    *,
    prompt: Sequence[int] = (5, 6, 7),
    tokens: int = 4,
    n: int = 1,
    temperature: float = 0,
) -> GenerationRequest:
    sampling = SamplingParams(max_tokens=tokens, temperature=temperature, ignore_eos=True)
    return GenerationRequest("r", tuple(prompt), sampling, adapter, n)


async def answer(engine: UpstreamEngine, asked: GenerationRequest) -> list[Delta]:
    return [delta async for delta in engine.generate(asked)]


async def text_of(engine: UpstreamEngine, asked: GenerationRequest) -> str:
    return "".join(delta.text for delta in await answer(engine, asked))


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until `condition` holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
