"""A damaged adapter over HTTP: the fallback answers, the admin API says why, and it comes back."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from gateway.control import adapters
from tests.gateway.api.test_serving import ask, text
from tests.gateway.conftest import World, start

ROUTES = """\
version: 1
workflows:
  triage: {target: triage@1, fallback: triage@2, temperature: 0}
  other: {target: triage@2, temperature: 0}
"""


@pytest.fixture
def files(tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The session's model beside a registry of this test's own."""
    monkeypatch.setattr(adapters, "_LOOK_S", 0.1)
    (tmp_path / "model").symlink_to(tiny_files / "model")
    shutil.copytree(tiny_files / "registry", tmp_path / "registry")
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return tmp_path


def weights(files: Path, version: int = 1) -> Path:
    return files / "registry" / "triage" / str(version) / "adapter_model.safetensors"


async def page(world: World) -> str:
    async with httpx.AsyncClient(base_url=world.inference) as http:
        return (await http.get("/metrics")).text


async def test_damaged_at_start_is_served_by_its_fallback_until_it_is_whole(files: Path) -> None:
    world = await start(files, files)
    whole = text(await ask(world))
    await world.gateway.stop()
    kept = weights(files).read_bytes()
    weights(files).write_bytes(kept[:1000])
    world = await start(files, files)
    try:
        answer = await ask(world)
        assert answer.status_code == 200
        assert answer.headers["x-gateway-target"] == "triage@2"
        assert answer.headers["x-gateway-reason"] == "fallback"
        route = (await world.order("GET", "/routes")).json()["workflows"]["triage"]
        assert "publish it again" in route["why"]
        status = (await world.order("GET", "/status")).json()
        assert status["unavailable_adapters"]["triage@1"] == route["why"]
        metrics = await page(world)
        assert 'gateway_route_fallback{workflow="triage"} 1.0' in metrics
        assert "gateway_adapters_unavailable 1.0" in metrics
        weights(files).write_bytes(kept)
        await world.until(lambda: not world.gateway.plane.unavailable)
        answer = await ask(world)
        assert answer.headers["x-gateway-reason"] == "route"
        assert text(answer) == whole
        assert 'gateway_route_fallback{workflow="triage"} 0.0' in await page(world)
    finally:
        await world.gateway.stop()


@pytest.mark.parametrize("stream", [False, True])
async def test_request_that_finds_its_adapter_gone_is_answered_by_the_fallback(
    files: Path, stream: bool
) -> None:
    world = await start(files, files, slots=1)
    try:
        assert (await ask(world)).headers["x-gateway-target"] == "triage@1"
        # Pushed out of the one slot and of host memory, then off the disk.
        world.engine._residency._memory.limit_bytes = 1
        assert (await ask(world, "other")).headers["x-gateway-target"] == "triage@2"
        world.engine._residency._memory.drop(
            world.gateway.plane.table.decisions["triage"].target.digest or ""
        )
        shutil.rmtree(weights(files).parent)
        answer = await ask(world, stream=stream)
        assert answer.status_code == 200
        assert answer.headers["x-gateway-target"] == "triage@2"
        assert answer.headers["x-gateway-reason"] == "fallback"
    finally:
        await world.gateway.stop()


async def test_files_changed_on_disk_after_publishing_are_never_loaded(files: Path) -> None:
    world = await start(files, files, slots=1)
    try:
        await ask(world, "other")
        world.engine._residency._memory.clear()
        shutil.copyfile(weights(files, 2), weights(files, 1))  # a whole adapter, another one
        answer = await ask(world)
        assert answer.headers["x-gateway-reason"] == "fallback"
        assert "digest" in world.gateway.plane.table.decisions["triage"].why
    finally:
        await world.gateway.stop()
