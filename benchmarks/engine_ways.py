"""The ways to serve a batch that the engine benchmark sets side by side, each in its own process.

A process of its own, because torch's worker threads of one way would slow the next one's down.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from gateway.engine.base import GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import Device, Dtype, EngineOptions
from gateway.model.source import ModelFiles
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from gateway.routing.table import AdapterRef

PROMPT, NEW, ADAPTERS = 64, 32, 8
ENGINE_WAYS = ("gateway engine, base", "gateway engine, mixed")
LIBRARY_WAYS = (
    "transformers generate, base",
    "peft adapter_names, mixed",
    "peft swapped per request",
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What every way is given."""

    files: ModelFiles
    work: Path  # adapters: `peft/a<i>` and the registry over them
    artifacts: tuple[AdapterArtifact, ...]
    device: Device
    dtype: Dtype


@dataclass(frozen=True, slots=True)
class Reading:
    """One batch, run once."""

    tokens_per_s: float
    first_token_s: float | None  # median over the batch; None where the way does not stream


class Worker:
    """A process that serves some of the ways and runs a batch when asked."""

    def __init__(self, target: Callable[[Setup, Connection], None], setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(setup, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, way: str, streams: int) -> Any:
        """The answer to one order: a `Reading`, or figures for `memory`."""
        self._pipe.send((way, streams))
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join(60)


def make_adapters(files: ModelFiles, work: Path) -> tuple[AdapterArtifact, ...]:
    """Random adapters of rank 8 on all linear layers, in PEFT's format and in a registry."""
    model = AutoModelForCausalLM.from_pretrained(files.path, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM")
    tuned: Any = get_peft_model(model, config, adapter_name="a0")
    for i in range(1, ADAPTERS):
        tuned.add_adapter(f"a{i}", config)
    torch.manual_seed(1)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.01)
    tuned.save_pretrained(work / "peft")
    registry = Registry(work / "registry")
    return tuple(
        registry.add(
            work / "peft" / f"a{i}",
            ref=AdapterRef(f"a{i}", "1"),
            base_name=files.name,
            base_fingerprint=files.fingerprint,
        )
        for i in range(ADAPTERS)
    )


def prompts(count: int) -> list[list[int]]:
    """Different prompts of equal length."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(100, 40000, (count, PROMPT), generator=generator)
    result: list[list[int]] = ids.tolist()
    return result


def serve_engine(setup: Setup, pipe: Connection) -> None:
    """The gateway's engine. Runs in a worker process."""
    asyncio.run(_serve_engine(setup, pipe))


async def _serve_engine(setup: Setup, pipe: Connection) -> None:
    engine = EmbeddedEngine(
        setup.files.path,
        name="bench",
        fingerprint=setup.files.fingerprint,
        options=EngineOptions(device=setup.device, dtype=setup.dtype),
    )
    engine.start()
    for artifact in setup.artifacts:
        await engine.make_resident(artifact)
    while (order := await asyncio.to_thread(pipe.recv)) is not None:
        way, streams = order
        if way == "memory":
            stats = engine.stats()
            pipe.send(
                {
                    "weights": round(stats.weights_bytes / 1e6),
                    "adapter_slots_16_of_rank_16": round(stats.slots_bytes / 1e6),
                    "kv_reserved": round(stats.kv_bytes / 1e6),
                }
            )
            continue
        adapters = [
            None if way.endswith("base") else setup.artifacts[i % ADAPTERS] for i in range(streams)
        ]
        pipe.send(await _through_engine(engine, adapters))
    await engine.close()


async def _through_engine(
    engine: EmbeddedEngine, adapters: list[AdapterArtifact | None]
) -> Reading:
    firsts: list[float] = []
    started = time.perf_counter()

    async def one(prompt: list[int], adapter: AdapterArtifact | None) -> int:
        sampling = SamplingParams(max_tokens=NEW, temperature=0, ignore_eos=True)
        count = 0
        async for delta in engine.generate(
            GenerationRequest("bench", tuple(prompt), sampling, adapter)
        ):
            if not count:
                firsts.append(time.perf_counter() - started)
            count += len(delta.token_ids)
        return count

    jobs = zip(prompts(len(adapters)), adapters, strict=True)
    counts = await asyncio.gather(*(one(prompt, adapter) for prompt, adapter in jobs))
    return Reading(sum(counts) / (time.perf_counter() - started), statistics.median(firsts))


def serve_libraries(setup: Setup, pipe: Connection) -> None:
    """transformers' and peft's own ways. Runs in a worker process."""
    dtype = getattr(torch, setup.dtype)

    def load() -> Any:
        model: Any = AutoModelForCausalLM.from_pretrained(setup.files.path, dtype=dtype)
        return model.to(setup.device).eval()

    base = load()
    tuned: Any = PeftModel.from_pretrained(load(), setup.work / "peft" / "a0", adapter_name="a0")
    for i in range(1, ADAPTERS):
        tuned.load_adapter(setup.work / "peft" / f"a{i}", adapter_name=f"a{i}")
    tuned.eval()

    def generate(model: Any, count: int, **more: Any) -> None:
        ids = torch.tensor(prompts(count), device=setup.device)
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW,
            min_new_tokens=NEW,
            do_sample=False,
            **more,
        ).cpu()  # waits for a device that computes by itself

    def run(way: str, streams: int) -> None:
        if way == "transformers generate, base":
            generate(base, streams)
        elif way == "peft adapter_names, mixed":
            generate(tuned, streams, adapter_names=[f"a{i % ADAPTERS}" for i in range(streams)])
        else:
            for i in range(streams):
                tuned.set_adapter(f"a{i % ADAPTERS}")
                generate(tuned, 1)

    while (order := pipe.recv()) is not None:
        way, streams = order
        started = time.perf_counter()
        run(way, streams)
        pipe.send(Reading(streams * NEW / (time.perf_counter() - started), None))
