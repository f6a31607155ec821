"""Watches of several gateways on one real Redis: they know together what none knows alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.control.plane import Command, ControlPlane
from gateway.guard.detectors import Answered
from gateway.guard.watch import Watch
from gateway.guard.watched import Arm
from gateway.log.location import RedisLocation, parse_location
from gateway.log.redis import RedisLog
from gateway.log.redis_evidence import RedisEvidence
from gateway.log.redis_register import RedisRegister
from gateway.metrics import Metrics
from tests.gateway.control.ports import MemoryRegistry, RecordingEngine, adapter
from tests.redis_server import RedisServer

TABLE = """\
version: 1
workflows:
  w: {target: a@1, guard: {checks: {labels: {labels: [net, web]}}}}
"""
GOOD, BAD = Answered("net", "ok"), Answered("chatter", "ok")


class Replica:
    """A control plane and its watch."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self.folder = folder / name
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "routes.yaml"
        file.write_text(TABLE)
        location = parse_location(url)
        assert isinstance(location, RedisLocation)
        self.plane = ControlPlane(
            RedisLog(location),
            cast(Any, MemoryRegistry(adapter("a@1"))),
            cast(Any, RecordingEngine()),
            file,
            replica=name,
            local=self.folder / "copy",
            register=RedisRegister(location),
        )
        self.watch = Watch(self.plane, self.folder, Metrics(), pool=RedisEvidence(location))

    async def start(self) -> Replica:
        await self.plane.start()
        await self.watch.start()
        return self

    async def close(self) -> None:
        await self.watch.close()
        await self.plane.close()

    def sees(self, *answers: Answered) -> None:
        for answer in answers:
            self.watch.observe(self.plane.table.decisions["w"], answer)

    @property
    def reason(self) -> str:
        return self.plane.table.decisions["w"].reason

    @property
    def pooled(self) -> tuple[int, float] | None:
        """Answers and bad ones of all gateways, as this one knows them."""
        watched = self.watch.watched.get(("w", Arm.CONTROL))
        if watched is None or watched.share is None or not watched.share.evidence:
            return None
        return watched.share.evidence[0].seen, watched.share.evidence[0].bad


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path / "redis").start()
    yield made
    made.kill()


@pytest.fixture
async def three(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Replica]]:
    monkeypatch.setattr("gateway.guard.watch.POST_S", 0.05)
    made = [await Replica(name, tmp_path, server.url).start() for name in ("r1", "r2", "r3")]
    yield made
    for replica in made:
        await replica.close()


async def test_three_gateways_take_a_route_back_that_none_of_them_would_alone(
    three: list[Replica],
) -> None:
    for replica in three:
        replica.sees(BAD, BAD, GOOD)
    await until(lambda: all(replica.reason == "disabled" for replica in three))
    (event,) = await three[0].plane.history(limit=1)
    assert event.actor == "guard"
    assert "answers of all gateways are bad" in event.reason
    assert not any(r.watch.watched["w", Arm.CONTROL].panel.evidence()[0].tripped for r in three)


async def test_each_decides_alone_while_the_redis_is_away(
    three: list[Replica], server: RedisServer
) -> None:
    three[0].sees(GOOD)
    await until(lambda: three[0].pooled == (1, 0.0))
    server.kill()
    three[0].sees(*[BAD] * 12)
    await until(lambda: three[0].reason == "disabled")
    await until(lambda: three[0].watch.pooling is not None and bool(three[0].watch.pooling.error))
    assert three[1].reason == "route"
    server.start()
    await until(lambda: all(replica.reason == "disabled" for replica in three))


async def test_what_was_seen_during_an_outage_is_said_after_it(
    three: list[Replica], server: RedisServer
) -> None:
    three[0].sees(GOOD)
    await until(lambda: three[0].pooled == (1, 0.0))
    server.pause()
    three[0].sees(GOOD, GOOD)
    await until(lambda: three[0].watch.pooling is not None and bool(three[0].watch.pooling.error))
    server.resume()
    await until(lambda: three[0].pooled == (3, 0.0))


async def test_a_restart_counts_nothing_twice(
    three: list[Replica], server: RedisServer, tmp_path: Path
) -> None:
    three[0].sees(GOOD, BAD)
    three[1].sees(GOOD)
    await until(lambda: three[0].pooled is not None and three[1].pooled is not None)
    await three[0].close()
    three[0] = await Replica("r1", tmp_path, server.url).start()
    three[0].sees(GOOD)
    await until(lambda: three[0].pooled is not None)
    assert three[0].pooled == (4, 1.0)


async def test_a_persons_enable_starts_all_anew(three: list[Replica]) -> None:
    for replica in three:
        replica.sees(BAD, BAD, GOOD)
    await until(lambda: all(replica.reason == "disabled" for replica in three))
    await three[1].plane.enable("w", Command("ada", "mended"))
    await until(lambda: all(replica.reason == "route" for replica in three))
    for replica in three:
        replica.sees(GOOD)
    await until(lambda: any(replica.pooled == (3, 0.0) for replica in three))
    assert all(replica.reason == "route" for replica in three)


async def test_the_pools_keys_end_by_themselves(three: list[Replica], server: RedisServer) -> None:
    three[0].sees(GOOD)
    await until(lambda: three[0].pooled is not None)
    client = server.client()
    keys: Any = client.keys("*guard*")
    assert len(keys) == 1
    life: Any = client.pttl(keys[0])
    assert 0 < life <= 7 * 86_400_000
