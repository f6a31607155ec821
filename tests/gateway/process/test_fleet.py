"""Two real gateways on a real Redis, under requests: an operator's order outlives every loss."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.gateway.cli.conftest import Cli, Said
from tests.gateway.process.clients import Clients, agreed, without_log
from tests.gateway.process.served import Served, serve
from tests.redis_server import RedisServer

ROUTES = """\
version: 1
workflows:
  triage: {target: triage@1, max_tokens: 8}
  notes: {target: triage@2, max_tokens: 8}
"""
NAMES = ("web-1", "web-2")


async def test_an_order_outlives_the_redis_and_a_replica_and_no_request_fails(
    tiny_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    server = RedisServer(tmp_path / "redis", appendonly="yes", appendfsync="always").start()
    running: dict[str, Served] = {}
    clients = Clients(("triage", "notes"))
    now = asyncio.get_running_loop().time

    async def begin(name: str) -> None:
        gateway = await serve(
            tiny_files,
            tmp_path,
            state=server.url,
            local_state=tmp_path / "copies",
            replica=name,
            threads=1,
        )
        running[name] = gateway
        clients.begin(name, gateway.inference)

    async def cli(at: str, *arguments: str) -> Said:
        return await Cli(running[at].admin, server.url)(*arguments)

    try:
        await asyncio.gather(*(begin(name) for name in NAMES))
        for name in NAMES:
            assert await clients.went(name, "triage", 0.0) == ("triage@1", "route")

        # A disable is acknowledged by both, and obeyed by every request asked from then on.
        said = await cli("web-1", "disable", "triage", "--reason", "wrong answers", "--wait", "30")
        disabled = now()
        assert said.code == 0, said.err
        lines = [line.split()[:2] for line in said.out.splitlines()]
        assert [*lines[1:]] == [["web-1", "obeyed"], ["web-2", "obeyed"]]
        for name in NAMES:
            assert await clients.went(name, "triage", disabled) == ("base", "disabled")

        # Without the Redis both serve on; an order says that it reached nobody.
        server.kill()
        lost = now()
        for name in NAMES:
            await without_log(running[name])
            assert await clients.went(name, "notes", lost) == ("triage@2", "route")
        refused = await cli("web-1", "disable", "notes", "--reason", "r")
        assert refused.code != 0

        # Given to one replica alone, it is obeyed there alone, and the operator is told so.
        said = await cli("web-1", "disable", "notes", "--reason", "r", "--local")
        ordered = now()
        assert said.code == 0, said.err
        assert "this replica ALONE obeys" in said.out
        assert any(
            line.split()[:2] == ["web-2", "lost"] and "NOT told" in line
            for line in said.out.splitlines()
        )
        assert await clients.went("web-1", "notes", ordered) == ("base", "disabled")
        assert await clients.went("web-2", "notes", ordered) == ("triage@2", "route")

        # The Redis is back: the order reaches all, and the log is whole.
        server.start()
        assert await agreed(list(running.values())) == 3
        back = now()
        for name in NAMES:
            assert await clients.went(name, "notes", back) == ("base", "disabled")
        said = await cli("web-2", "audit", "verify")
        assert said.code == 0, said.out + said.err

        # A replica that is killed obeys from its first request after the restart on.
        await clients.end("web-2")
        running["web-2"].process.send_signal(signal.SIGKILL)
        assert await running["web-2"].ended() == -signal.SIGKILL
        await running.pop("web-2").kill()
        killed = now()
        await begin("web-2")
        for workflow in ("triage", "notes"):
            assert await clients.went("web-2", workflow, killed) == ("base", "disabled")
        assert await agreed(list(running.values())) == 3
        assert {one.status for one in clients.answers} == {200}
    finally:
        await clients.end_all()
        for gateway in running.values():
            await gateway.kill()
        server.kill()
