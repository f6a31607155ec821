"""A group of replicas and its Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.gateway.control.group import Group
from tests.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path / "redis").start()
    yield made
    made.kill()


@pytest.fixture
async def group(server: RedisServer, tmp_path: Path) -> AsyncIterator[Group]:
    made = Group(server, tmp_path)
    yield made
    for replica in made.replicas:
        await replica.plane.close()
