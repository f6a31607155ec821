"""The engines that the contract is asked of: each over the same tiny model and adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gateway.engine.base import Delta, Engine, GenerationRequest, SamplingParams
from gateway.registry.values import AdapterArtifact
from tests.gateway.engine.engine_process import EngineProcess
from tests.gateway.engine.real import Files, embedded_over, upstream_over
from tests.gateway.engine.vllm_server import VllmServer


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


@pytest.fixture(
    params=[
        "embedded",
        "engine server",
        # Its server may take minutes to start.
        pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.timeout(600)]),
    ],
)
async def subject(request: pytest.FixtureRequest, contract_files: Files) -> AsyncIterator[Subject]:
    engine: Engine
    if request.param == "embedded":
        engine = embedded_over(contract_files)
    else:
        server: EngineProcess | VllmServer = request.getfixturevalue(
            "vllm_server" if request.param == "vllm" else "engine_process"
        )
        engine = upstream_over(contract_files, server.url, requests=6)
    await asyncio.to_thread(engine.start)
    yield Subject(engine, contract_files)
    await engine.close()
