"""A closed loop of requests on an embedded engine in a process of its own, and what it saw."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from gateway.engine.base import EngineStats, GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import Device, Dtype, EngineOptions
from gateway.model.source import ModelFiles
from gateway.registry.content import WEIGHTS
from gateway.registry.values import AdapterArtifact

PROMPT, NEW = 48, 16  # tokens
IN_FLIGHT = 32  # requests at a time, for 16 rows
SLOTS = 16


@dataclass(frozen=True, slots=True)
class World:
    """An engine to be measured: its base model, and the adapters that requests may name."""

    files: ModelFiles
    artifacts: tuple[AdapterArtifact, ...]
    device: Device
    dtype: Dtype
    threads: int


@dataclass(slots=True)
class _Seen:
    """What clients saw, in seconds."""

    firsts: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)  # between a row's tokens
    finished: int = 0
    tokens: int = 0


def serve(world: World, pipe: Connection) -> None:
    """Run each trace that comes over `pipe`, and send what was read; None ends it."""
    asyncio.run(_serve(world, pipe))


async def _serve(world: World, pipe: Connection) -> None:
    started = time.perf_counter()
    engine = EmbeddedEngine(
        world.files.path,
        name="bench",
        fingerprint=world.files.fingerprint,
        options=EngineOptions(
            device=world.device,
            dtype=world.dtype,
            slots=SLOTS,
            max_len=PROMPT + NEW,
            threads=world.threads,
        ),
    )
    engine.start()
    pipe.send({"start_s": time.perf_counter() - started, "rss_mb": _rss_mb()})
    while (trace := await asyncio.to_thread(pipe.recv)) is not None:
        _forget_files(world.artifacts)
        pipe.send(await _run(engine, [world.artifacts[name] for name in trace]))
    await engine.close()


async def _run(engine: EmbeddedEngine, wanted: Sequence[AdapterArtifact]) -> dict[str, Any]:
    """Ask for `wanted` in order, always IN_FLIGHT at a time. Rates are over the time until the last
    one was sent: the end, at which the batch runs empty, is left out."""
    engine.adapter_use.recent.clear()
    before, rss = engine.stats(), _rss_mb()
    seen = _Seen()
    queue = list(enumerate(wanted))[::-1]
    started = time.perf_counter()
    at_last = (0.0, 0, 0)

    async def client() -> None:
        nonlocal at_last
        while queue:
            number, artifact = queue.pop()
            if not queue:
                at_last = (time.perf_counter() - started, seen.finished, seen.tokens)
            await _ask(engine, artifact, number, seen)

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
    took, finished, tokens = at_last
    return {
        "requests_per_s": finished / took,
        "tokens_per_s": tokens / took,
        "first_token_s": quantiles(seen.firsts),
        "between_tokens_s": quantiles(seen.gaps),
        "stall_s": quantiles(list(engine.adapter_use.recent)),
        "rss_grown_mb": _rss_mb() - rss,
        **_counted(before, engine.stats()),
    }


async def _ask(engine: EmbeddedEngine, artifact: AdapterArtifact, number: int, seen: _Seen) -> None:
    prompt = random.Random(number).choices(range(100, 40000), k=PROMPT)
    sampling = SamplingParams(max_tokens=NEW, temperature=0, ignore_eos=True)
    last = began = time.perf_counter()
    stream = engine.generate(GenerationRequest(str(number), tuple(prompt), sampling, artifact))
    async for delta in stream:
        now = time.perf_counter()
        if last == began:
            seen.firsts.append(now - began)
        else:
            seen.gaps.append(now - last)
        seen.tokens += len(delta.token_ids)
        last = now
    seen.finished += 1


def _counted(before: EngineStats, after: EngineStats) -> dict[str, int | float]:
    """What the engine counted in between."""
    old, new = before.adapter_use, after.adapter_use
    assert old is not None
    assert new is not None
    hits, misses = new.hits - old.hits, new.misses - old.misses
    loads, reads = after.adapter_loads - before.adapter_loads, new.reads - old.reads
    return {
        "requests": hits + misses,
        "hit_rate": hits / (hits + misses),
        "loads": loads,
        "reads": reads,
        "memory_hit_rate": 1 - reads / loads if loads else 1.0,
        "evictions": after.adapter_evictions - before.adapter_evictions,
        "stalls": sum(new.waits) - sum(old.waits),
        "load_seconds": after.adapter_load_seconds - before.adapter_load_seconds,
        "memory_tier_mb": new.memory_bytes / 1e6,
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest; empty where there is no value."""
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for name, q in at.items()}
    return {**found, "max": ordered[-1]}


def _rss_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _forget_files(artifacts: Sequence[AdapterArtifact]) -> None:
    """Have the next read of each adapter come from the disk, and not from the system's memory."""
    for artifact in artifacts:
        file = os.open(artifact.path / WEIGHTS, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
