"""A client that goes away frees its row within one decode step."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from gateway.engine.embedded.rows import Submission
from tests.gateway.conftest import World


@pytest.mark.usefixtures("slow_steps")
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_frees_its_row_within_one_decode_step(
    world: World, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    engine = world.engine
    cancel = engine._cancel
    told_at: list[int] = []

    def told(submission: Submission) -> None:
        told_at.append(engine.stats().steps)
        cancel(submission)

    monkeypatch.setattr(engine, "_cancel", told)
    body = {"model": "base", "prompt": "fox", "max_tokens": 480, "stream": stream}
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        request = http.build_request("POST", "/v1/completions", json=body)
        asking = asyncio.create_task(http.send(request, stream=True))
        await world.until(lambda: engine.stats().running_rows == 1)
        if stream:
            await (await asking).aclose()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await world.until(lambda: engine.stats().running_rows == 0)
    # The step that was under way when it was told, and none after it.
    assert engine.stats().steps - told_at[0] <= 1
    assert engine.stats().tokens_generated < 480
