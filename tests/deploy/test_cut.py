"""A cut network: packets to an engine, or to the Redis, vanish, and nobody is told.

The tests share one gateway and run in the order of the file; each leaves the network whole.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import redis

from scripts.stack.commands import redis_server
from tests.deploy.namespace import Namespace, available
from tests.gateway.engine.engine_process import EngineProcess
from tests.gateway.process.served import SLOW_STEPS, Served, serve
from tests.redis_server import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = """\
version: 1
workflows:
  triage: {target: triage@1, temperature: 0}
"""
KEY = "between-gateway-and-engines"
TOKENS = 100
WORDS = ("fox", "dog", "quick", "lazy", "brown", "over", "jumps", "gateway", "each", "sends")


@dataclass
class Site:
    """A gateway here, one engine beside it, and an engine and a Redis on machines of their own."""

    gateway: Served
    near: EngineProcess
    far: EngineProcess
    engines_net: Namespace
    redis_net: Namespace
    http: httpx.AsyncClient

    async def ask(self, word: str, tokens: int = 8) -> httpx.Response:
        body = {"model": "triage", "prompt": word, "max_tokens": tokens}
        return await self.http.post("/v1/completions", json=body)

    async def stream(self, word: str) -> str:
        """The last line of a stream of some length."""
        body = {"model": "triage", "prompt": word, "max_tokens": TOKENS, "stream": True}
        last = ""
        async with self.http.stream("POST", "/v1/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                last = line or last
        return last

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.gateway.order("GET", "/status")).json()
        return found

    async def of_far(self) -> dict[str, Any]:
        servers = (await self.status())["stats"]["servers"]
        found: dict[str, Any] = next(one for one in servers if one["name"] == self.far.url)
        return found


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 40) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


def start_redis(net: Namespace, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """On the machine of `net`; returns once it answers."""
    words = (redis_server(), "--bind", net.address, "--port", str(port), "--dir", str(folder))
    process = subprocess.Popen(
        [*net.within(), *words, "--save", "", "--protected-mode", "no"],
        stdout=subprocess.DEVNULL,
    )
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), 100)
    redis.Redis(host=net.address, port=port, retry=retry).ping()
    return process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    if why := available():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("cut")
    (folder / "routes.yaml").write_text(ROUTES)
    async with AsyncExitStack() as ending:
        nets = (Namespace(), Namespace())
        for net in nets:
            ending.callback(net.remove)
            net.make()
        port = free_port()
        log = start_redis(nets[1], folder, port)
        ending.callback(log.wait)
        ending.callback(log.kill)
        engines = [
            EngineProcess(
                tiny_files / "model",
                folder / f"engine-{number}.log",
                ("--max-len", "500"),
                prelude=SLOW_STEPS,
                environment={"GATEWAY_SERVER_KEY": KEY},
                host=host,
                within=within,
            )
            for number, (host, within) in enumerate(
                [("127.0.0.1", ()), (nets[0].address, nets[0].within())]
            )
        ]
        for engine in engines:
            ending.callback(engine.kill)
        await asyncio.gather(*(asyncio.to_thread(engine.start) for engine in engines))
        gateway = await serve(
            tiny_files,
            folder,
            state=f"redis://{nets[1].address}:{port}/0",
            local_state=folder / "copies",
            engine="upstream",
            servers=",".join(engine.url for engine in engines),
            prelude=f"import os; os.environ['GATEWAY_SERVER_KEY'] = '{KEY}'",
            server_check_s=0.2,
            server_connect_s=1,
            server_first_token_s=20,
            server_idle_s=2,
        )
        ending.push_async_callback(gateway.kill)
        http = httpx.AsyncClient(base_url=gateway.inference, timeout=60)
        await ending.enter_async_context(http)
        near, far = engines
        yield Site(gateway, near, far, *nets, http)


async def test_an_engine_that_vanishes_is_left_and_comes_back(site: Site) -> None:
    streams: list[asyncio.Task[str]] = []
    words = iter(WORDS)

    async def there_too() -> bool:
        streams.append(asyncio.create_task(site.stream(next(words))))
        await asyncio.sleep(0.1)
        return bool((await site.of_far())["choices"])

    await until(there_too)
    site.engines_net.cut()
    try:
        # What had not begun is answered by the other one, whether it was sent before the gateway
        # knew, or after.
        answers = await asyncio.gather(*(site.ask(word) for word in WORDS))
        assert {one.status_code for one in answers} == {200}
        assert {one.headers["x-gateway-target"] for one in answers} == {"triage@1"}
        # What had begun there stands still, and is told so.
        lasts = await asyncio.gather(*streams)
        assert all(last == "data: [DONE]" or "engine_error" in last for last in lasts)
        assert any("engine_error" in last for last in lasts)
        await until(lambda: left(site))
        assert (await site.ask("fox")).status_code == 200
    finally:
        site.engines_net.mend()

    async def back() -> bool:
        await asyncio.gather(*(site.ask(word) for word in WORDS))  # one of them is its trial
        far = await site.of_far()
        return bool(far["circuit"] == "closed" and far["adapters"])

    await until(back)


async def left(site: Site) -> bool:
    return bool((await site.of_far())["circuit"] != "closed")


async def test_while_the_redis_is_away_requests_go_on_and_no_order_is_said_to_hold(
    site: Site,
) -> None:
    site.redis_net.cut()
    try:
        order = site.gateway.order("POST", "/workflows/triage/disable", reason="nonsense")
        (done, answers) = await asyncio.gather(
            order, asyncio.gather(*(site.ask(word) for word in WORDS[:4]))
        )
        assert done.status_code == 503
        assert {one.status_code for one in answers} == {200}
        assert (await site.status())["log"]["ok"] is False
    finally:
        site.redis_net.mend()

    async def heard() -> bool:
        return bool((await site.status())["log"]["ok"])

    await until(heard)
    done = await site.gateway.order("POST", "/workflows/triage/disable", reason="nonsense")
    assert done.status_code == 200, done.text
    answer = await site.ask("fox")
    assert answer.headers["x-gateway-target"] == "base"
    assert answer.headers["x-gateway-reason"] == "disabled"
