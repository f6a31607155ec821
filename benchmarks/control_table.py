"""A table of 10,000 workflows: what an edit, a look-up and a route cost. One plane, no requests."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from gateway.control.plane import Command, ControlPlane
from gateway.log.sqlite import SqliteLog
from gateway.process import settle
from gateway.routing.effective import effective
from gateway.routing.events import API_SOURCE
from gateway.routing.fold import fold_all
from tests.gateway.control.ports import MemoryRegistry, RecordingEngine, adapter

EDITS = 30


async def big_table() -> dict[str, Any]:
    """A one-route edit of 10,000 workflows; `resolve` and memory by the number of routes."""
    resolve_ns, memory = {}, {}
    found: dict[str, Any] = {}
    for count in (10, 100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "routes.yaml"
            file.write_text(_text(count, "a@1"))
            plane = _plane(Path(folder))
            await plane.start()
            table = plane.table
            resolve_ns[str(count)] = _median_ns(table.resolve, list(table.decisions))
            await plane.close()
            tracemalloc.start()
            log = SqliteLog(Path(folder) / "log")
            kept = effective(fold_all(log.read()))  # routes and decisions; the events are freed
            memory[str(count)] = round(tracemalloc.get_traced_memory()[0] / count)
            tracemalloc.stop()
            log.close()
            del kept
            if count == 10_000:
                found = await edits(Path(folder), count)
    return {"resolve_ns_median": resolve_ns, "bytes_per_route": memory, **found}


async def edits(folder: Path, count: int) -> dict[str, Any]:
    """One-route edits after a restart on an unedited file. The first is asked for as soon as the
    file is known again, which happens beside serving; each is timed from its validation on."""
    plane = _plane(folder)
    began = time.monotonic()
    await plane.start()
    ready = time.monotonic()
    settle()  # as `gateway serve` does
    await asyncio.gather(*(t for t in asyncio.all_tasks() if t.get_name() == "learn-routes"))
    learned = time.monotonic()
    took = []
    for number in range(EDITS):
        text = _text(count, f"{'bcd'[number % 3]}@1")
        before = time.monotonic()
        await plane.apply_text(text, source=API_SOURCE, command=Command("bench"))
        took.append((time.monotonic() - before) * 1e3)
    before = time.monotonic()
    await plane.disable("w00005", Command("bench"))
    disabled = time.monotonic() - before
    await plane.close()
    return {
        "edit_of_10000_ms": {
            "edits": EDITS,
            "first": round(took[0], 1),
            "p50": round(statistics.median(took), 1),
            "worst": round(max(took), 1),
        },
        "restart_of_10000_ms": round((ready - began) * 1e3),
        "known_again_of_10000_ms": round((learned - ready) * 1e3),
        "disable_of_10000_ms": round(disabled * 1e3, 1),
    }


def _plane(folder: Path) -> ControlPlane:
    registry = MemoryRegistry(*(adapter(f"{name}@1") for name in "abcd"))
    log = SqliteLog(folder / "log")
    return ControlPlane(
        log, cast(Any, registry), cast(Any, RecordingEngine()), folder / "routes.yaml"
    )


def _text(count: int, first: str) -> str:
    rows = [f"  w{n:05}: {{target: {first if n == 0 else 'a@1'}}}\n" for n in range(count)]
    return "version: 1\nworkflows:\n" + "".join(rows)


def _median_ns(resolve: Callable[[str], object], names: list[str]) -> float:
    """Median over batches of 1,000 random look-ups."""
    asked = random.Random(0).choices(names, k=1000)
    batches = []
    for _ in range(200):
        began = time.perf_counter_ns()
        for name in asked:
            resolve(name)
        batches.append((time.perf_counter_ns() - began) / len(asked))
    return round(statistics.median(batches), 1)
