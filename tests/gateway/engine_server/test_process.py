"""`gateway engine` as a process of its own: its clients leave, and it is told to stop.

In this order: the tests share one, and the last of them ends it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from gateway.engine.upstream.engine import UpstreamEngine
from gateway.errors import BadInput
from tests.gateway.engine.engine_process import EngineProcess
from tests.gateway.engine.real import Files, upstream_over
from tests.gateway.engine_server.conftest import asked, events
from tests.gateway.process.served import SLOW_STEPS

# Ten seconds, with steps as slow as this, and a fifth of one.
LONG, SHORT = 200, 4
LONG_ONE, SHORT_ONE = (asked(model="model", max_tokens=tokens) for tokens in (LONG, SHORT))
SLOWER = SLOW_STEPS.replace("0.01", "0.05")


@pytest.fixture(scope="module")
def engine(contract_files: Files) -> Iterator[EngineProcess]:
    made = EngineProcess(
        contract_files.model,
        contract_files.root / "process.log",
        ("--grace-s", "2"),
        prelude=SLOWER,
    )
    yield made.start()
    made.kill()


async def running_rows(http: httpx.AsyncClient) -> float:
    scraped = (await http.get("/metrics")).text
    (line,) = [one for one in scraped.splitlines() if one.startswith("gateway_running_rows ")]
    return float(line.split()[1])


async def test_a_gateway_of_another_base_does_not_start_over_it(
    engine: EngineProcess, contract_files: Files
) -> None:
    other = replace(contract_files)
    other.fingerprint = "0" * 64
    upstream: UpstreamEngine = upstream_over(other, engine.url)
    with pytest.raises(BadInput, match=f"runs base {contract_files.fingerprint[:12]}"):
        await asyncio.to_thread(upstream.start)
    await upstream.close()


async def test_a_client_that_leaves_frees_its_place(engine: EngineProcess) -> None:
    async with httpx.AsyncClient(base_url=engine.url, timeout=60) as http:
        async with http.stream("POST", "/v1/completions", json=LONG_ONE) as answer:
            pieces = answer.aiter_raw()
            await anext(pieces)
            assert await running_rows(http) == 1
        async with asyncio.timeout(LONG * 0.05 / 2):
            while await running_rows(http):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.02)


async def test_a_stop_lets_running_answers_finish_and_ends_the_others_with_an_error(
    engine: EngineProcess,
) -> None:
    async with httpx.AsyncClient(base_url=engine.url, timeout=60) as http:
        short = http.stream("POST", "/v1/completions", json=SHORT_ONE)
        long = http.stream("POST", "/v1/completions", json=LONG_ONE)
        async with short as one, long as other:
            engine.signal(signal.SIGTERM)
            finished, ended = [(await answer.aread()).decode() for answer in (one, other)]
    assert events(finished)[-1] is None
    # What the grace time cuts off is told so: by itself it would look like a whole answer.
    assert events(ended)[-1]["error"]["code"] == 500
    assert await asyncio.to_thread(engine.ended) == 0


def test_it_is_not_opened_to_a_network_without_a_key() -> None:
    command = [sys.executable, "-m", "gateway.cli.main", "engine", "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "GATEWAY_SERVER_KEY" in done.stderr
