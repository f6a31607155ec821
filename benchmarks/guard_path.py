"""What a guard costs a request: the transcript of its deltas, and `observe`; and what happens when
the guard itself stands still.

Real objects on a real control plane over a tiny model; only the engine's time is left out.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from gateway.engine.base import Delta, FinishReason
from gateway.guard.transcript import Transcript
from gateway.serve import Gateway
from gateway.settings import Settings
from tests import tiny

REQUESTS = 20_000
TOKENS = 12  # of one answer, a delta each
_MOST_WAITING = 2000  # answers that the guard has not taken out yet
_STOPPED = 40  # requests over HTTP with the guard stopped

_ROUTES = """\
version: 1
workflows:
  w:
    target: base
    guard:
      checks:
        labels: {labels: [net, web, mail, games]}
        collapse: {labels: [net, web, mail, games], reference: 0.5, tolerance: 0.2}
        empty:
        repetition:
        refusal:
        cut:
        errors:
        first_token: {limit_s: 2}
"""


def read() -> dict[str, Any]:
    """The figures, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_read(Path(folder)))


async def _read(folder: Path) -> dict[str, Any]:
    (folder / "routes.yaml").write_text(_ROUTES)
    settings = Settings(
        port=0,
        admin_port=0,
        routes=folder / "routes.yaml",
        state=folder / "var",  # type: ignore[arg-type]
        registry=str(folder / "registry"),
        model=str(tiny.make_tiny_model(folder / "model")),
        device="cpu",
        threads=1,
        slots=2,
        max_rows=4,
        max_len=256,
        grace_s=1,
        log_level="error",
    )
    gateway = await asyncio.to_thread(Gateway, settings)
    await gateway.start()
    try:
        took = await _one_by_one(gateway)
        stopped = await _guard_stopped(gateway)
    finally:
        await gateway.stop()
    transcript, observed = took[:, 0], took[:, 1]
    return {
        "requests": REQUESTS,
        "tokens": TOKENS,
        "transcript_us": _points(transcript),
        "observe_us": _points(observed),
        "request_us": _points(transcript + observed),
        "guard_stopped": stopped,
    }


async def _one_by_one(gateway: Gateway) -> Any:
    """Microseconds of the transcript and of `observe`, for each request. [requests, 2]"""
    watch = gateway.watch
    assert watch is not None
    decision = gateway.plane.table.decisions["w"]
    deltas = [Delta(0, " web", (7,)) for _ in range(TOKENS - 1)]
    deltas.append(Delta(0, "", (), finish=FinishReason.STOP))
    took = np.zeros((REQUESTS, 2))
    for at in range(REQUESTS):
        began = time.perf_counter_ns()
        transcript = Transcript(1, 0.0)
        for step, delta in enumerate(deltas):
            transcript.add(delta, step * 0.01)
        seen = transcript.answered("ok")
        kept = time.perf_counter_ns()
        for one in seen:
            watch.observe(decision, one)
        took[at] = kept - began, time.perf_counter_ns() - kept
        await asyncio.sleep(0)  # the guard's task and thread work beside it
        while watch._queue.qsize() > _MOST_WAITING:  # noqa: ASYNC110 (no event for it)
            await asyncio.sleep(0.001)
    return took / 1e3


async def _guard_stopped(gateway: Gateway) -> dict[str, int]:
    """Requests over HTTP once the guard's tasks have ended: all are answered."""
    watch = gateway.watch
    assert watch is not None
    for task in watch._tasks:
        task.cancel()
    await asyncio.gather(*watch._tasks, return_exceptions=True)
    failed = 0
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{gateway.ports[0]}", timeout=60
    ) as http:
        for _ in range(_STOPPED):
            body = {"model": "w", "prompt": "fox", "max_tokens": 3}
            failed += (await http.post("/v1/completions", json=body)).status_code != 200
    return {"requests": _STOPPED, "failed": failed}


def _points(values: Any) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (50, 99)}
