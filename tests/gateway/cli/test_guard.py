"""`gateway guard` beside a gateway that shares its log: what it knows, and what all know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.guard.detectors import Answered
from gateway.guard.watched import Arm
from tests.gateway.cli.conftest import Cli
from tests.gateway.conftest import World, start
from tests.gateway.guard.test_watch import routes, see, watch_of
from tests.redis_server import RedisServer


@pytest.fixture
async def pooled(
    tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr("gateway.guard.watch.POST_S", 0.05)
    server = RedisServer(tmp_path / "redis").start()
    (tmp_path / "routes.yaml").write_text(routes())
    world = await start(tiny_files, tmp_path, state=server.url, local_state=tmp_path / "local")
    yield world
    await world.gateway.stop()
    server.kill()


async def test_explain_tells_its_own_evidence_and_that_of_all_gateways(pooled: World) -> None:
    see(pooled, "triage", Answered("net", "ok"), Answered("chatter", "ok"))

    def heard() -> bool:
        watched = watch_of(pooled).watched.get(("triage", Arm.CONTROL))
        return watched is not None and watched.share is not None and bool(watched.share.evidence)

    await pooled.until(heard)
    cli = Cli(pooled.admin, str(pooled.settings.state))
    said = await cli("guard", "explain", "triage")
    assert "labels: 1 of 2 answers of all gateways are bad (50.0%)" in said.out
    assert "labels: 1 of 2 answers are bad (50.0%)" in said.out
    status = await cli("guard", "status")
    assert "triage@1" in status.out
    assert "at 3 they hold their trips" in status.out
    as_json = (await cli("guard", "explain", "triage", "--json")).json
    assert as_json.keys() == {"arms", "shadows", "probes"}
    assert [arm["workflow"] for arm in as_json["arms"]] == ["triage"]
