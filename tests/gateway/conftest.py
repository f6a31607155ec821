"""A whole gateway over a tiny model, on free ports, in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.rows import Step
from gateway.engine.embedded.runner import StepResult
from gateway.registry.store import Registry
from gateway.serve import Gateway
from gateway.settings import Settings
from tests import tiny

ROUTES = """\
version: 1
workflows:
  triage:
    target: triage@1
    max_tokens: 400
    temperature: 0
  facts:
    target: base
    response_schema:
      type: object
      properties: {ok: {type: boolean}}
      required: [ok]
      additionalProperties: false
"""


@dataclass
class World:
    """A running gateway with its files and addresses."""

    gateway: Gateway
    settings: Settings
    inference: str
    admin: str

    @property
    def engine(self) -> EmbeddedEngine:
        """Its engine, to look into."""
        assert isinstance(self.gateway.engine, EmbeddedEngine)
        return self.gateway.engine

    async def order(self, method: str, path: str, **body: object) -> httpx.Response:
        """Call the admin API."""
        async with httpx.AsyncClient(base_url=f"{self.admin}/admin/v1", timeout=30) as client:
            return await client.request(method, path, json=body or None)

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait until `condition` holds."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gateway")
    model = tiny.make_tiny_model(root / "model")
    registry = Registry(root / "registry")
    for version in (1, 2):
        folder = tiny.make_tiny_adapter(root / f"a{version}", model, seed=version)
        tiny.publish(registry, folder, f"triage@{version}", model)
    return root


def settings_for(files: Path, folder: Path, **more: object) -> Settings:
    routes = folder / "routes.yaml"
    if not routes.exists():
        routes.write_text(ROUTES)
    usual: dict[str, object] = {
        "port": 0,
        "admin_port": 0,
        "routes": routes,
        "state": folder / "var",
        "registry": files / "registry",
        "model": str(files / "model"),
        "device": "cpu",
        "slots": 2,
        "max_rows": 4,
        "max_len": 500,
        "max_queue": 8,
        "grace_s": 0.5,
        "log_level": "error",
    }
    return Settings.model_validate(usual | more)


async def start(files: Path, folder: Path, **more: object) -> World:
    """A running gateway; `more` are settings that differ."""
    settings = settings_for(files, folder, **more)
    gateway = Gateway(settings)
    await gateway.start()
    inference, admin = (f"http://127.0.0.1:{port}" for port in gateway.ports)
    return World(gateway, settings, inference, admin)


@pytest.fixture
async def world(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    running = await start(tiny_files, tmp_path)
    yield running
    await running.gateway.stop()


def slow_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real engine at the pace of a real model: a tiny one ends before anybody can act."""
    runner = world.engine._runner
    run = runner.run

    def slowed(step: Step) -> StepResult:
        time.sleep(0.01)
        return run(step)

    monkeypatch.setattr(runner, "run", slowed)


@pytest.fixture
def slow_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_down(world, monkeypatch)
