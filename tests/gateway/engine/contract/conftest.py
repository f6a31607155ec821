"""The engines that the contract is asked of: each over the same tiny model and adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.engine.base import Delta, Engine, GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.engine.upstream.engine import UpstreamEngine
from gateway.engine.upstream.options import ServerAddress, Timeouts, UpstreamOptions
from gateway.model.fingerprint import fingerprint
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from tests import tiny
from tests.gateway.engine.vllm_server import VllmServer, start_vllm

# Attention of vLLM on CPU has kernels for heads of 32 and more.
HEAD_DIM = 32
MAX_LEN = 256


@dataclass
class Files:
    """A tiny base and its adapters."""

    root: Path
    model: Path
    adapters: list[AdapterArtifact]
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprint = fingerprint(self.model)


@dataclass
class Subject:
    """An engine under test, and what it runs."""

    engine: Engine
    files: Files

    def request(
        self,
        prompt: tuple[int, ...] = tuple(range(20, 40)),
        *,
        adapter: AdapterArtifact | None = None,
        n: int = 1,
        **sampling: object,
    ) -> GenerationRequest:
        usual: dict[str, object] = {"max_tokens": 8, "temperature": 0.0, "ignore_eos": True}
        return GenerationRequest(
            "contract",
            prompt,
            SamplingParams(**(usual | sampling)),  # type: ignore[arg-type]
            adapter,
            n,
        )

    async def answer(self, request: GenerationRequest) -> list[Delta]:
        return [delta async for delta in self.engine.generate(request)]

    async def tokens(self, request: GenerationRequest, index: int = 0) -> list[int]:
        deltas = await self.answer(request)
        return [token for d in deltas if d.index == index for token in d.token_ids]


@pytest.fixture(scope="session")
def contract_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("contract")
    model = tiny.make_tiny_model(root / "model", head_dim=HEAD_DIM)
    registry = Registry(root / "registry")
    adapters = [
        tiny.publish(
            registry, tiny.make_tiny_adapter(root / f"a{n}", model, seed=n), f"a@{n}", model
        )
        for n in (1, 2)
    ]
    return Files(root, model, adapters)


@pytest.fixture(scope="session")
def vllm_server(contract_files: Files) -> VllmServer:
    """One real vLLM server for the session; skips, with the reason, where there is none."""
    return start_vllm(contract_files.model, max_len=MAX_LEN)


def embedded_over(files: Files) -> EmbeddedEngine:
    options = EngineOptions(device="cpu", slots=2, max_rows=6, max_len=MAX_LEN, prefill_tokens=16)
    return EmbeddedEngine(files.model, name="tiny", fingerprint=files.fingerprint, options=options)


def upstream_over(files: Files, *urls: str, **more: object) -> UpstreamEngine:
    options = UpstreamOptions(
        servers=tuple(ServerAddress(url) for url in urls),
        max_len=MAX_LEN,
        timeouts=Timeouts(check_every_s=0.5, check_s=5),
        **more,  # type: ignore[arg-type]
    )
    return UpstreamEngine(files.model, name="tiny", fingerprint=files.fingerprint, options=options)


@pytest.fixture(
    params=["embedded", pytest.param("upstream", marks=pytest.mark.vllm)],
)
async def subject(request: pytest.FixtureRequest, contract_files: Files) -> AsyncIterator[Subject]:
    engine: Engine
    if request.param == "embedded":
        engine = embedded_over(contract_files)
    else:
        server: VllmServer = request.getfixturevalue("vllm_server")
        engine = upstream_over(contract_files, server.url, requests=6)
    await asyncio.to_thread(engine.start)
    yield Subject(engine, contract_files)
    await engine.close()
