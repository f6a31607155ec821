"""Engine throughput: base only and mixed adapters, beside transformers and peft, in one run.

Prompt 64 tokens, 32 new tokens, greedy, the default model; random rank-8 adapters on all linear
layers. Each figure is the median of the rounds; the ways take turns within a round.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from benchmarks.results import write
from gateway.engine.base import GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.model.source import ModelFiles, resolve_model
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from gateway.routing.table import AdapterRef

PROMPT, NEW, ADAPTERS, ROUNDS = 64, 32, 8, 2
STREAMS = (1, 4, 16)


def make_adapters(files: ModelFiles, work: Path) -> tuple[list[AdapterArtifact], Any]:
    """Random adapters in a registry, and the same ones in one peft model."""
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
    artifacts = [
        registry.add(
            work / "peft" / f"a{i}",
            ref=AdapterRef(f"a{i}", "1"),
            base_name=files.name,
            base_fingerprint=files.fingerprint,
        )
        for i in range(ADAPTERS)
    ]
    return artifacts, tuned.eval()


def prompts(count: int) -> list[list[int]]:
    """Different prompts of equal length."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(100, 40000, (count, PROMPT), generator=generator)
    result: list[list[int]] = ids.tolist()
    return result


async def ours(
    engine: EmbeddedEngine, adapters: list[AdapterArtifact | None]
) -> tuple[float, float]:
    """tokens/s and median seconds to the first token."""
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
    counts = await asyncio.gather(*(one(p, a) for p, a in jobs))
    return sum(counts) / (time.perf_counter() - started), statistics.median(firsts)


def generated(model: Any, count: int, **more: Any) -> float:
    """tokens/s of the library's own batched generate."""
    ids = torch.tensor(prompts(count))
    started = time.perf_counter()
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        do_sample=False,
        **more,
    )
    return count * NEW / (time.perf_counter() - started)


def swapped(model: Any, count: int) -> float:
    """tokens/s where each request switches the adapter and runs alone."""
    started = time.perf_counter()
    for i in range(count):
        model.set_adapter(f"a{i % ADAPTERS}")
        generated(model, 1)
    return count * NEW / (time.perf_counter() - started)


async def main() -> None:
    """Run all ways and write benchmarks/results/engine.json."""
    files = resolve_model(None, progress=print)
    with tempfile.TemporaryDirectory() as work:
        artifacts, tuned = make_adapters(files, Path(work))
        base = AutoModelForCausalLM.from_pretrained(files.path, dtype=torch.float32).eval()
        engine = EmbeddedEngine(
            files.path, name="bench", fingerprint=files.fingerprint, options=EngineOptions()
        )
        engine.start()
        for artifact in artifacts:
            await engine.make_resident(artifact)
        figures: dict[str, Any] = {}
        for count in STREAMS:
            mixed = [artifacts[i % ADAPTERS] for i in range(count)]
            names = [f"a{i % ADAPTERS}" for i in range(count)]
            ways: dict[str, Callable[[], float]] = {
                "transformers generate, base": partial(generated, base, count),
                "peft adapter_names, mixed": partial(generated, tuned, count, adapter_names=names),
                "peft swapped per request": partial(swapped, tuned, count),
            }
            read: dict[str, list[float]] = {}
            first: dict[str, list[float]] = {}
            for round_number in range(ROUNDS + 1):  # the first warms up and is not counted
                for way, adapters in (("base", [None] * count), ("mixed", mixed)):
                    rate, ttft = await ours(engine, list(adapters))
                    if round_number:
                        read.setdefault(f"gateway engine, {way}", []).append(rate)
                        first.setdefault(f"gateway engine, {way}", []).append(ttft)
                for way, run in ways.items():
                    if round_number == 0 and count != 1:
                        continue
                    rate = run()
                    if round_number:
                        read.setdefault(way, []).append(rate)
            figures[str(count)] = {
                way: {
                    "tokens_per_s": round(statistics.median(rates), 1),
                    **(
                        {"first_token_s": round(statistics.median(first[way]), 3)}
                        if way in first
                        else {}
                    ),
                }
                for way, rates in read.items()
            }
            print(count, figures[str(count)], flush=True)
        stats = engine.stats()
        figures["memory_mb"] = {
            "weights": round(stats.weights_bytes / 1e6),
            "adapter_slots_16_of_rank_16": round(stats.slots_bytes / 1e6),
            "kv_reserved": round(stats.kv_bytes / 1e6),
        }
        await engine.close()
    print(write("engine", figures))


if __name__ == "__main__":
    asyncio.run(main())
