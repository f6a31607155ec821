"""Measure an adapter against the base on the same items, through the engine that serves it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.engine.base import GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.model.source import ModelFiles
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from gateway.routing.table import AdapterRef
from trainer.data import Row, read_rows
from trainer.recipe import Recipe

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Paired:
    """Per-item scores of base and adapter on the same items, and the mean difference with its
    95% paired bootstrap interval (Efron and Tibshirani, 1993)."""

    base: tuple[float, ...]
    adapter: tuple[float, ...]
    difference: float
    low: float
    high: float


def paired(base: Sequence[float], adapter: Sequence[float], seed: int = 0) -> Paired:
    """Compare scores item by item. Both hold the same items in the same order."""
    gains = [b - a for a, b in zip(base, adapter, strict=True)]
    rng = random.Random(seed)
    means = sorted(sum(rng.choices(gains, k=len(gains))) / len(gains) for _ in range(_RESAMPLES))
    return Paired(
        tuple(base),
        tuple(adapter),
        sum(gains) / len(gains),
        means[int(0.025 * _RESAMPLES)],
        means[int(0.975 * _RESAMPLES)],
    )


def score(task: str, answer: str, expected: str) -> float:
    """`label`: 1 for the very label. `json`: the share of expected fields that came out right,
    0 for what is no JSON object."""
    if task == "label":
        return 1.0 if answer.strip() == expected.strip() else 0.0
    wanted: dict[str, Any] = json.loads(expected)
    try:
        found = json.loads(answer)
    except ValueError:
        return 0.0
    if not isinstance(found, dict):
        return 0.0
    right: int = sum(key in found and found[key] == value for key, value in wanted.items())
    return right / max(len(wanted), len(found))


async def _answers(
    engine: EmbeddedEngine, rows: Sequence[Row], adapter: AdapterArtifact | None, max_tokens: int
) -> list[str]:
    async def one(row: Row) -> str:
        prompt = tuple(engine.text.encode_chat(row.prompt))
        sampling = SamplingParams(max_tokens=max_tokens, temperature=0)
        stream = engine.generate(GenerationRequest("eval", prompt, sampling, adapter))
        return "".join([delta.text async for delta in stream])

    return list(await asyncio.gather(*(one(row) for row in rows)))


def evaluate(recipe: Recipe, model: ModelFiles, adapter_folder: Path, work: Path) -> dict[str, Any]:
    """The eval report of an adapter, per-item scores kept: target scores on the test rows, and
    what share of general prompts (held out of training) it answers in the tuned format."""
    rows = read_rows(recipe.data.test)
    artifact = Registry(work).add(
        adapter_folder,
        ref=AdapterRef(recipe.name, "candidate"),
        base_name=model.name,
        base_fingerprint=model.fingerprint,
    )
    engine = EmbeddedEngine(
        model.path,
        name=model.name,
        fingerprint=model.fingerprint,
        options=EngineOptions(max_queue=4096, max_len=1024),
    )
    engine.start()
    labels = {row.answer for row in rows}

    async def run() -> dict[str, Any]:
        limit = 12 if recipe.task == "label" else 120
        found = {}
        for name, adapter in (("base", None), ("adapter", artifact)):
            answers = await _answers(engine, rows, adapter, limit)
            found[name] = [
                score(recipe.task, a, row.answer) for a, row in zip(answers, rows, strict=True)
            ]
        result = paired(found["base"], found["adapter"])
        general = read_rows(recipe.data.general)
        overuse = {}
        for name, adapter in (("base", None), ("adapter", artifact)):
            said = await _answers(engine, general, adapter, 24)
            overuse[name] = sum(_in_format(recipe.task, s, labels) for s in said) / len(said)
        await engine.close()
        return {
            "recipe": recipe.name,
            "items": len(rows),
            "metric": "label accuracy" if recipe.task == "label" else "field accuracy",
            "base": sum(result.base) / len(rows),
            "adapter": sum(result.adapter) / len(rows),
            "difference": result.difference,
            "interval_95": [result.low, result.high],
            "format_overuse_on_general_prompts": overuse,
            "per_item": {"base": list(result.base), "adapter": list(result.adapter)},
        }

    return asyncio.run(run())


def _in_format(task: str, answer: str, labels: set[str]) -> bool:
    """Whether a general prompt was answered the way the tune answers its task."""
    if task == "label":
        return answer.strip() in labels or len(answer.split()) <= 1
    return answer.lstrip().startswith("{")
