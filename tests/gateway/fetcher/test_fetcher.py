"""Adapters over HTTP, from a gateway's registry to a server's folder: whole, checked, once."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import AdapterRejected, BadInput
from gateway.fetcher.app import create_fetcher_app
from gateway.fetcher.store import FetchedAdapters, FetchFailed
from gateway.registry.content import CONFIG, WEIGHTS, adapter_digest
from tests.gateway.conftest import World


def client_of(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway")  # type: ignore[arg-type]


@pytest.fixture
async def admin(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.admin) as client:
        yield client


async def test_an_adapter_of_the_registry_arrives_whole_under_its_digest(
    world: World, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    artifact = next(iter(world.gateway.plane.artifacts.values()))
    store = FetchedAdapters(tmp_path / "held", admin)
    folders = await asyncio.gather(*(store.fetch(artifact.digest) for _ in range(3)))
    assert set(folders) == {tmp_path / "held" / artifact.digest}
    assert adapter_digest(folders[0], "a") == artifact.digest
    assert sorted(os.listdir(folders[0])) == [CONFIG, WEIGHTS]
    assert os.listdir(tmp_path / "held") == [artifact.digest]


async def test_what_no_registry_has_is_not_found(
    world: World, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    with pytest.raises(FetchFailed, match="404"):
        await FetchedAdapters(tmp_path / "held", admin).fetch("0" * 64)
    assert (await admin.get(f"/admin/v1/artifacts/{'0' * 64}/manifest")).status_code == 400
    assert os.listdir(tmp_path / "held") == []


async def test_what_has_another_digest_is_not_used_and_leaves_nothing(tmp_path: Path) -> None:
    async def tampered(request: Request) -> Response:
        return Response(b"{}")

    app = Starlette(routes=[Route("/admin/v1/artifacts/{digest}/{part}", tampered)])
    async with client_of(app) as client:
        with pytest.raises(AdapterRejected, match="it is not used"):
            await FetchedAdapters(tmp_path, client).fetch(hashlib.sha256(b"x").hexdigest())
    assert os.listdir(tmp_path) == []


async def test_a_digest_is_no_path(tmp_path: Path) -> None:
    async with client_of(Starlette()) as client:
        for name in ("../../etc", "A" * 64, "0" * 63):
            with pytest.raises(BadInput):
                await FetchedAdapters(tmp_path, client).fetch(name)


async def test_the_fetcher_asks_for_its_key(tmp_path: Path) -> None:
    async with client_of(Starlette()) as gateway:
        app = create_fetcher_app(FetchedAdapters(tmp_path, gateway), key="secret")
        async with client_of(app) as client:
            url = f"/v1/adapters/{'0' * 64}"
            assert (await client.post(url)).status_code == 401
            wrong = {"authorization": "Bearer other"}
            assert (await client.post(url, headers=wrong)).status_code == 401
            right = {"authorization": "Bearer secret"}
            answer = await client.post(url, headers=right)
            assert answer.json()["error"]["code"] == "fetch_failed"  # that gateway has nothing
