"""An engine server's app in this process, over the tiny model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.api.limits import BodyLimits
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.engine.upstream.naming import name_of
from gateway.engine_server.app import EngineApp
from gateway.registry.values import AdapterArtifact
from tests.gateway.engine.conftest import contract_files
from tests.gateway.engine.real import MAX_LEN, Files

__all__ = ["contract_files"]


@dataclass
class Served:
    """The app, its engine, and a client of it."""

    app: EngineApp
    engine: EmbeddedEngine
    http: httpx.AsyncClient

    async def load(self, adapter: AdapterArtifact, **other: str) -> httpx.Response:
        body = {"lora_name": name_of(adapter.digest), "lora_path": str(adapter.path)}
        return await self.http.post("/v1/load_lora_adapter", json=body | other)

    async def ask(self, **fields: Any) -> httpx.Response:
        return await self.http.post("/v1/completions", json=asked(**fields))

    async def listed(self) -> list[str]:
        return [one["id"] for one in (await self.http.get("/v1/models")).json()["data"]]


def asked(**fields: Any) -> dict[str, Any]:
    """A request for a few tokens of the base; a field that is None is left out."""
    usual: dict[str, Any] = {"model": "tiny", "prompt": [5, 6, 7], "stream": True}
    usual |= {"max_tokens": 4, "temperature": 0, "ignore_eos": True}
    return {name: value for name, value in (usual | fields).items() if value is not None}


def events(text: str) -> list[Any]:
    """The events of a stream; its end as None."""
    said = [line.removeprefix("data: ") for line in text.splitlines() if line]
    return [None if one == "[DONE]" else json.loads(one) for one in said]


def text_of(answer: httpx.Response) -> str:
    """What was said, which must have come to its end."""
    assert answer.status_code == 200, answer.text
    found = events(answer.text)
    assert found[-1] is None
    return "".join(one["choices"][0]["text"] for one in found[:-1])


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(contract_files: Files) -> AsyncIterator[Serve]:
    """Make an app over an engine; closed at the end."""
    made: list[Served] = []

    async def start(*, adapters: int = 8, key: str = "", **options: Any) -> Served:
        sizes: dict[str, Any] = {"slots": 2, "max_rows": 4, "max_len": MAX_LEN}
        engine = EmbeddedEngine(
            contract_files.model,
            name="tiny",
            fingerprint=contract_files.fingerprint,
            options=EngineOptions(device="cpu", **(sizes | options)),
        )
        engine.start()
        app = EngineApp(engine, adapters=adapters, key=key, body=BodyLimits(100_000, 10))
        transport = httpx.ASGITransport(app=app.asgi)
        http = httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60)
        made.append(Served(app, engine, http))
        return made[-1]

    yield start
    for one in made:
        await one.http.aclose()
        await one.engine.close()


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()
