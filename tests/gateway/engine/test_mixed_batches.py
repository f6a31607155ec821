"""A row of a mixed batch says what peft says when it runs that adapter alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from gateway.engine.base import Delta, FinishReason, GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.model.fingerprint import fingerprint
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from tests import tiny

VARIANTS = {
    "all-8": {"rank": 8},
    "attention-4": {"rank": 4, "target_modules": ("q_proj", "v_proj"), "alpha": 32},
    "mlp-16-rs": {
        "rank": 16,
        "target_modules": ("gate_proj", "down_proj"),
        "use_rslora": True,
        "alpha": 8,
    },
    "all-2": {"rank": 2, "alpha": 8},
}


def options(**changes: int) -> EngineOptions:
    sizes = {"slots": 3, "max_rows": 6, "max_len": 256, "prefill_tokens": 16}
    return EngineOptions(device="cpu", **{**sizes, **changes})  # type: ignore[arg-type]


def make_engine(model: Path, **changes: int) -> EmbeddedEngine:
    engine = EmbeddedEngine(
        model, name="tiny", fingerprint=fingerprint(model), options=options(**changes)
    )
    engine.start()
    return engine


async def tokens_of(
    engine: EmbeddedEngine, prompt: tuple[int, ...], adapter: AdapterArtifact | None, count: int
) -> list[int]:
    stream = engine.generate(
        GenerationRequest(
            "r", prompt, SamplingParams(max_tokens=count, temperature=0, ignore_eos=True), adapter
        )
    )
    return [token async for delta in stream for token in delta.token_ids]


def alone(
    model: Path, adapter: AdapterArtifact | None, prompt: tuple[int, ...], count: int
) -> list[int]:
    """Greedy continuation by transformers, with peft where there is an adapter."""
    reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter is not None:
        reference = PeftModel.from_pretrained(reference, adapter.path)
    reference.eval()
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        for _ in range(count):
            best = reference(input_ids=ids).logits[0, -1].argmax()
            ids = torch.cat([ids, best.view(1, 1)], dim=1)
    result: list[int] = ids[0, len(prompt) :].tolist()
    return result


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, AdapterArtifact]]:
    root = tmp_path_factory.mktemp(request.param)
    model = tiny.make_tiny_model(root / "model", request.param)
    registry = Registry(root / "registry")
    adapters = {}
    for seed, (name, settings) in enumerate(VARIANTS.items()):
        folder = tiny.make_tiny_adapter(root / name, model, seed=seed + 5, **settings)  # type: ignore[arg-type]
        adapters[name] = tiny.publish(registry, folder, f"{name}@1", model)
    return model, adapters


async def test_each_row_equals_its_adapter_alone_through_joins_and_leaves(
    world: tuple[Path, dict[str, AdapterArtifact]],
) -> None:
    model, adapters = world
    engine = make_engine(model)
    targets = [None, *adapters.values()]
    # More adapters than slots, more requests than rows, prompts over one prefill chunk, and
    # lengths that differ: rows join and leave in mid-flight all the time.
    jobs = [
        (tuple(range(5 + i, 12 + 3 * i)), targets[i % len(targets)], 4 + 5 * (i % 4))
        for i in range(14)
    ]
    try:
        answers = await asyncio.gather(*(tokens_of(engine, *job) for job in jobs))
    finally:
        await engine.close()
    for (prompt, adapter, count), answer in zip(jobs, answers, strict=True):
        assert answer == alone(model, adapter, prompt, count), adapter and adapter.ref
    stats = engine.stats()
    assert stats.running_rows == stats.queue_depth == 0
    assert stats.adapter_evictions > 0


def test_adapters_change_what_is_said(world: tuple[Path, dict[str, AdapterArtifact]]) -> None:
    """Without this the comparison with peft would pass on adapters that do nothing."""
    model, adapters = world
    prompts = [tuple(range(20 + i, 40 + i)) for i in range(6)]
    base = [alone(model, None, prompt, 4) for prompt in prompts]
    for adapter in adapters.values():
        assert [alone(model, adapter, prompt, 4) for prompt in prompts] != base


async def test_a_cancelled_request_frees_its_row_for_the_next(
    world: tuple[Path, dict[str, AdapterArtifact]],
) -> None:
    model, adapters = world
    engine = make_engine(model, max_rows=1)
    try:
        long = engine.generate(
            GenerationRequest(
                "long",
                (5, 6, 7),
                SamplingParams(max_tokens=200, temperature=0, ignore_eos=True),
                adapters["all-8"],
            )
        )
        deltas: list[Delta] = []
        async for delta in long:
            deltas.append(delta)
            if len(deltas) == 2:
                long.cancel()
        assert deltas[-1].finish is FinishReason.CANCELLED
        assert len(deltas) < 200
        assert await tokens_of(engine, (9, 10), None, 3) == alone(model, None, (9, 10), 3)
    finally:
        await engine.close()


@pytest.mark.parametrize("scored_from", [0, 1, 20, 44])
async def test_prompt_scores_are_the_models_own(
    world: tuple[Path, dict[str, AdapterArtifact]], scored_from: int
) -> None:
    model, adapters = world
    prompt = tuple(range(30, 75))
    engine = make_engine(model)
    try:
        stream = engine.generate(
            GenerationRequest(
                "score",
                prompt,
                SamplingParams(max_tokens=0, prompt_logprobs=1, prompt_logprobs_from=scored_from),
                adapters["mlp-16-rs"],
            )
        )
        scores = [s for d in [d async for d in stream] for s in d.prompt_logprobs or ()]
    finally:
        await engine.close()
    reference = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        adapters["mlp-16-rs"].path,
    ).eval()
    with torch.inference_mode():
        logits = reference(input_ids=torch.tensor([prompt])).logits[0].log_softmax(-1)
    expected = [float(logits[i, token]) for i, token in enumerate(prompt[1:])]
    if scored_from == 0:
        assert scores.pop(0).logprob is None  # nothing comes before the first token
    first = max(0, scored_from - 1)
    assert [s.logprob for s in scores] == pytest.approx(expected[first:], abs=1e-3)
