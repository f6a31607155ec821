"""A gateway whose adapters are in object storage: the same answers, also while that is away."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.cli.status import lines
from gateway.control import adapters
from gateway.fetcher.store import FetchedAdapters
from gateway.registry.content import adapter_digest
from gateway.registry.opening import open_registry
from gateway.registry.store import Registry
from tests.gateway.api.test_serving import ask, text
from tests.gateway.conftest import World, start
from tests.gateway.registry.test_cache import cut


@pytest.fixture
def url(tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The session's adapters in a memory of this test's own."""
    monkeypatch.setattr(adapters, "_LOOK_S", 0.1)
    monkeypatch.setattr(adapters, "_LOOK_AT_MOST_S", 0.1)
    where = f"memory://{uuid.uuid4().hex}"
    there = open_registry(where, cache=tmp_path / "publisher")
    for artifact in Registry(tiny_files / "registry").list():
        there.add(
            artifact.path,
            ref=artifact.ref,
            base_name=artifact.base_name,
            base_fingerprint=artifact.base_fingerprint,
            state=artifact.state,
            gate=artifact.gate,
        )
    return where


async def serving(files: Path, folder: Path, url: str, **more: Any) -> World:
    return await start(files, folder, registry=url, registry_cache=folder / "cache", **more)


async def ready(world: World) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=world.inference) as http:
        said: dict[str, Any] = (await http.get("/health/ready")).json()
        return said


async def test_adapters_by_url_answer_as_those_of_a_folder(
    tiny_files: Path, tmp_path: Path, url: str
) -> None:
    world = await start(tiny_files, tmp_path)
    known = text(await ask(world))
    await world.gateway.stop()
    (tmp_path / "other").mkdir()
    world = await serving(tiny_files, tmp_path / "other", url)
    try:
        answer = await ask(world)
        assert (answer.headers["x-gateway-target"], text(answer)) == ("triage@1", known)
        cached = list((tmp_path / "other/cache").glob("*/triage/*"))
        assert [folder.name for folder in cached] == ["1"]  # what no route names stays there
        async with httpx.AsyncClient(base_url=world.admin) as admin:
            for artifact in world.gateway.plane.artifacts.values():
                fetched = await FetchedAdapters(tmp_path / "held", admin).fetch(artifact.digest)
                assert adapter_digest(fetched, "a") == artifact.digest
        listed = (await world.order("GET", "/adapters")).json()["adapters"]
        in_folder = Registry(tiny_files / "registry").refs()
        assert [each["ref"] for each in listed] == [str(ref) for ref in in_folder]
    finally:
        await world.gateway.stop()


async def test_a_store_that_is_away_stops_neither_answers_nor_a_start(
    tiny_files: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await serving(tiny_files, tmp_path, url)
    known = text(await ask(world))
    await world.gateway.stop()
    with cut(monkeypatch, OSError("no route to host")):
        world = await serving(tiny_files, tmp_path, url)
        answer = await ask(world)
        assert (answer.headers["x-gateway-target"], text(answer)) == ("triage@1", known)
        said = await ready(world)
        assert said["ready"] is True
        assert url in said["registry"]
        assert "no route to host" in said["registry"]
        add = await world.order("POST", "/adapters", ref="t@1", folder=str(tmp_path))
        assert add.status_code in (422, 503)
        status = (await world.order("GET", "/status")).json()
        assert status["registry"] == said["registry"]
        workflows = (await world.order("GET", "/routes")).json()["workflows"]
        shown = [line for line in lines(status, workflows) if line.startswith("registry")]
        assert shown == [f"registry   AWAY, what is held is served on: {said['registry']}"]
        async with httpx.AsyncClient(base_url=world.inference) as http:
            assert "gateway_registry_reachable 0.0" in (await http.get("/metrics")).text
    try:
        async with asyncio.timeout(20):
            while (await ready(world))["registry"] != "ok":  # noqa: ASYNC110 (it is polled)
                await asyncio.sleep(0.02)
    finally:
        await world.gateway.stop()


async def test_a_start_with_neither_store_nor_copy_falls_back_until_it_is_there(
    tiny_files: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await serving(tiny_files, tmp_path, url)).gateway.stop()
    with cut(monkeypatch, OSError("no route to host")):
        world = await start(tiny_files, tmp_path, registry=url, registry_cache=tmp_path / "empty")
        answer = await ask(world)
        assert answer.headers["x-gateway-reason"] == "fallback"
        assert "no route to host" in world.gateway.plane.table.decisions["triage"].why
    try:
        await world.until(lambda: not world.gateway.plane.unavailable)
        assert (await ask(world)).headers["x-gateway-target"] == "triage@1"
    finally:
        await world.gateway.stop()
