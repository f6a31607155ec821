"""Two real gateways, each with a line of its own to one real Redis that has no file: after every
fault nothing that was acknowledged is lost, both agree, and each request goes where it should.

The gateways are shared by the tests of this file; each test has a workflow of its own.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.cli.conftest import Cli, Said
from tests.gateway.process.clients import Clients, agreed, status, with_whole_copy, without_log
from tests.gateway.process.served import Served, serve
from tests.redis_server import RedisServer
from tests.small_disk import fill, make_room, small_disk
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKFLOWS = ("half", "unanswered", "apart", "paused", "gone", "killed", "full", "jumped", "back")
ROUTES = "version: 1\nworkflows:\n" + "".join(
    f"  {name}: {{target: triage@1, max_tokens: 4}}\n" for name in WORKFLOWS
)
ROUTED, OFF = ("triage@1", "route"), ("base", "disabled")
# A clock that a test sets by a file: seconds to add to the machine's.
CLOCK = """
import time
real = time.time
def told():
    with open({path!r}) as file:
        return real() + float(file.read() or 0)
time.time = told
"""


@dataclass
class Pair:
    """web-1 and web-2, their lines to the Redis, and a client at each."""

    files: Path
    folder: Path
    server: RedisServer
    lines: dict[str, TcpProxy]
    running: dict[str, Served]
    clients: Clients

    @property
    def one(self) -> Served:
        return self.running["web-1"]

    @property
    def two(self) -> Served:
        return self.running["web-2"]

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    async def begin(self, name: str) -> None:
        self.running[name] = await serve(
            self.files,
            self.folder,
            prelude=CLOCK.format(path=str(self.clock)) if name == "web-1" else "",
            state=f"redis://127.0.0.1:{self.lines[name].port}",
            local_state=self.folder / f"copies-{name}",
            replica=name,
            threads=1,
        )
        self.clients.begin(name, self.running[name].inference)

    async def disable(self, at: Served, workflow: str, **more: object) -> Any:
        """An acknowledged disable's answer."""
        answer = await at.order(
            "POST", f"/workflows/{workflow}/disable", reason="fault", wait_s=20, **more
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def both_go(self, workflow: str, where: tuple[str, str]) -> None:
        """Both agree, and from now on every request goes to `where`."""
        await agreed(list(self.running.values()))
        now = asyncio.get_running_loop().time()
        for name in self.running:
            assert await self.clients.went(name, workflow, now) == where

    async def cli(self, at: Served, *arguments: str) -> Said:
        return await Cli(at.admin, self.server.url)(*arguments)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "routes.yaml").write_text(ROUTES)
    (folder / "clock").write_text("0")
    server = RedisServer(folder / "redis").start()
    lines = {name: await TcpProxy(server.port).start() for name in ("web-1", "web-2")}
    made = Pair(tiny_files, folder, server, lines, {}, Clients(WORKFLOWS, pause_s=0.02))
    try:
        await asyncio.gather(*(made.begin(name) for name in lines))
        yield made
        assert {one.status for one in made.clients.answers} == {200}
        said = await made.cli(made.one, "audit", "verify")
        assert said.code == 0, said.out + said.err
    finally:
        await made.clients.end_all()
        for gateway in made.running.values():
            await gateway.kill()
        for line in lines.values():
            await line.close()
        server.kill()


async def test_a_line_cut_in_the_middle_of_an_append_leaves_nothing_appended(pair: Pair) -> None:
    before = await agreed([pair.one, pair.two])
    pair.lines["web-1"].cut_at(b"XADD", "request")
    answer = await pair.one.order("POST", "/workflows/half/disable", reason="fault")
    assert answer.status_code == 503
    assert "not known whether revision" in answer.json()["error"]["message"]
    await pair.both_go("half", ROUTED)
    assert (await status(pair.two))["revision"] == before
    await pair.disable(pair.one, "half")
    await pair.both_go("half", OFF)


async def test_an_append_whose_answer_is_cut_off_is_found_and_acknowledged(pair: Pair) -> None:
    cuts = pair.lines["web-1"].cuts
    pair.lines["web-1"].cut_at(b"XADD", "answer")
    done = await pair.disable(pair.one, "unanswered")
    assert pair.lines["web-1"].cuts == cuts + 1
    assert done["revision"] == await agreed([pair.one, pair.two])
    await pair.both_go("unanswered", OFF)


async def test_a_replica_that_is_cut_off_is_named_serves_on_and_obeys_once_it_is_back(
    pair: Pair,
) -> None:
    line = pair.lines["web-1"]
    line.cut()
    await without_log(pair.one)
    answer = await pair.two.order("POST", "/workflows/apart/disable", reason="fault", wait_s=0.1)
    told = {one["replica"]: one["answer"] for one in answer.json()["replicas"]}
    assert told["web-2"] == "obeyed"
    assert told["web-1"] in ("silent", "lost")
    now = asyncio.get_running_loop().time()
    assert await pair.clients.went("web-1", "apart", now) == ROUTED
    assert await pair.clients.went("web-2", "apart", now) == OFF
    line.mend()
    await pair.both_go("apart", OFF)


async def test_a_paused_redis_holds_no_request_up_and_a_local_order_reaches_all_later(
    pair: Pair,
) -> None:
    pair.server.pause()
    try:
        await without_log(pair.one)
        refused = await pair.two.order("POST", "/workflows/paused/disable", reason="fault")
        assert refused.status_code == 503
        done = await pair.disable(pair.one, "paused", local=True)
        assert (done["owed"], done["kept"]) == (True, True)
        now = asyncio.get_running_loop().time()
        assert await pair.clients.went("web-1", "paused", now) == OFF
        assert await pair.clients.went("web-2", "gone", now) == ROUTED
    finally:
        pair.server.resume()
    await pair.both_go("paused", OFF)


async def test_a_redis_that_lost_everything_takes_no_replica_back(pair: Pair) -> None:
    done = await pair.disable(pair.two, "gone")
    pair.server.kill()
    await without_log(pair.one)
    await without_log(pair.two)
    pair.server.start()  # it has no file: it comes back empty
    assert await agreed([pair.one, pair.two]) == done["revision"]
    await pair.both_go("gone", OFF)
    again = await pair.disable(pair.one, "back")
    assert again["revision"] == done["revision"] + 1


async def test_a_replica_killed_while_the_redis_is_away_obeys_from_its_first_request_on(
    pair: Pair,
) -> None:
    await pair.disable(pair.two, "killed")
    pair.server.kill()
    await pair.clients.end("web-2")
    pair.two.process.send_signal(signal.SIGKILL)
    assert await pair.two.ended() == -signal.SIGKILL
    await pair.running.pop("web-2").kill()
    now = asyncio.get_running_loop().time()
    await pair.begin("web-2")
    assert await pair.clients.went("web-2", "killed", now) == OFF
    pair.server.start()
    await pair.both_go("killed", OFF)


@pytest.mark.parametrize("years", [30, -30])
async def test_a_clock_that_jumps_changes_no_order_and_hides_no_replica(
    pair: Pair, years: int
) -> None:
    pair.clock.write_text(str(years * 365 * 86400))
    verb = "disable" if years > 0 else "enable"
    answer = await pair.one.order("POST", f"/workflows/jumped/{verb}", reason="fault", wait_s=20)
    assert answer.status_code == 200, answer.text
    assert [one["answer"] for one in answer.json()["replicas"]] == ["obeyed", "obeyed"]
    await pair.both_go("jumped", OFF if verb == "disable" else ROUTED)
    pair.clock.write_text("0")


async def test_a_replica_whose_disk_is_full_obeys_says_so_and_catches_up(
    pair: Pair, tmp_path: Path
) -> None:
    copies = pair.folder / "copies-web-1"
    with ExitStack() as stack:
        # The running replica has its files open below: it is begun anew on the small disk.
        stack.enter_context(small_disk(copies))
        await pair.clients.end("web-1")
        await pair.running.pop("web-1").kill()
        await pair.begin("web-1")
        await agreed([pair.one, pair.two])
        fill(copies)
        await pair.disable(pair.one, "full")
        await pair.both_go("full", OFF)
        told = (await status(pair.one))["log"]["copy_error"]
        assert "full" in told or "No space left" in told, told
        make_room(copies)
        await pair.one.order("POST", "/workflows/back/enable", reason="fault")
        await with_whole_copy(pair.one)
        await pair.clients.end("web-1")
        await pair.running.pop("web-1").kill()
    await pair.begin("web-1")
    await pair.both_go("full", OFF)
