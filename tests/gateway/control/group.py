"""Replicas in this process, each with its own disk, on one real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from gateway.control.plane import Command, ControlPlane
from gateway.log.location import RedisLocation, parse_location
from gateway.log.record import verify
from gateway.log.redis import RedisLog
from gateway.log.redis_register import RedisRegister
from gateway.routing.table import Reason
from tests.gateway.control.ports import MemoryRegistry, RecordingEngine, adapter
from tests.redis_server import RedisServer

A, B = adapter("a@1"), adapter("b@1")
ADA, BOB = Command("ada", "because"), Command("bob", "as well")
TABLE = "version: 1\nworkflows:\n  w: {target: a@1}\n  v: {target: b@1}\n"


class Replica:
    """One plane with its own disk, registry and engine."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self.name = name
        self.folder = folder / name
        self.url = url
        self.registry = MemoryRegistry(A, B)
        self.engine = RecordingEngine()
        self.plane: ControlPlane

    async def start(self) -> ControlPlane:
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "routes.yaml"
        if not file.exists():
            file.write_text(TABLE)
        location = parse_location(self.url)
        assert isinstance(location, RedisLocation)
        self.plane = ControlPlane(
            RedisLog(location),
            cast(Any, self.registry),
            cast(Any, self.engine),
            file,
            replica=self.name,
            local=self.folder / "copy",
            register=RedisRegister(location),
        )
        await self.plane.start()
        return self.plane

    def goes_to(self, workflow: str = "w") -> tuple[str, Reason]:
        decision = self.plane.table.resolve(workflow)
        assert decision is not None
        return str(decision.target), decision.reason


class Group:
    """Replicas on one Redis."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.replicas: list[Replica] = []

    async def add(self, name: str) -> Replica:
        replica = Replica(name, self.folder, self.server.url)
        self.replicas.append(replica)
        await replica.start()
        return replica

    async def agree(self) -> None:
        await until(
            lambda: (
                len({r.plane.state.revision for r in self.replicas}) == 1
                and all(r.plane.log_error is None and not r.plane.owed for r in self.replicas)
            )
        )
        states = [r.plane.state for r in self.replicas]
        assert all(state == states[0] for state in states)
        log = cast(RedisLog, self.replicas[0].plane._history.log)
        assert verify(await asyncio.to_thread(log.records)) is None


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.01)
