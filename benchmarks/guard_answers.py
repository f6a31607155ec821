"""Real answers: what the shipped adapters and the base say to the eval items, written down once,
and scored as traffic by the product's own panel.

    python -m benchmarks.guard_answers      # asks the real model, some minutes

writes results/guard-answers.json. What each adapter says is its healthy traffic; what the base
says to the same prompts is what a route gets whose adapter has lost its tuning.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.guard_damage import LABELS, ROOT
from benchmarks.guard_runs import Counts, share, spread
from gateway.engine.base import GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.guard import sequential as seq
from gateway.guard.detectors import Answered
from gateway.guard.panel import Panel
from gateway.guard.values import CheckKind, CheckRule, GuardRule
from gateway.model.source import resolve_model
from gateway.registry.store import Registry
from gateway.routing.table import AdapterRef

NAME = "guard-answers"
RATES = (0.05, 0.2, 0.6)
_COMMON = (CheckKind.EMPTY, CheckKind.REFUSAL, CheckKind.CUT)


@dataclass(frozen=True, slots=True)
class Source:
    """An adapter, the prompts that it is asked, and how many tokens it may answer."""

    adapter: str
    items: str
    count: int
    max_tokens: int


SOURCES = (
    Source("package-section@2", "package-section/suite/items.jsonl", 240, 16),
    Source("package-facts@1", "package-facts/suite/items.jsonl", 60, 160),
)


def rule(adapter: str, healthy: list[Answered]) -> GuardRule:
    """The guard of its route, with the references that its own answers give: what a rate is on so
    many eval items is read, not known."""
    if not adapter.startswith("package-section"):
        return GuardRule(tuple(_check(kind, healthy) for kind in (CheckKind.SCHEMA, *_COMMON)))
    said = [one.text.strip() for one in healthy]
    commonest = max(said.count(label) for label in LABELS) / len(said)
    collapse = CheckRule(
        CheckKind.COLLAPSE,
        reference=commonest,
        reference_items=len(said),
        tolerance=0.2,
        labels=LABELS,
    )
    return GuardRule((*(_check(kind, healthy) for kind in (CheckKind.LABELS, *_COMMON)), collapse))


def _check(kind: CheckKind, answers: list[Answered]) -> CheckRule:
    """A check whose reference is the mean of its scores of `answers`."""
    plain = CheckRule(kind, labels=LABELS)
    panel = Panel(GuardRule((plain,)), None)
    scores = [panel.score(one)[0] or 0.0 for one in answers]
    reference = sum(scores) / len(scores)
    return dataclasses.replace(plain, reference=reference, reference_items=len(scores))


def read(seed: int, runs: int, answers: int) -> dict[str, Any]:
    """Traffic drawn from the recorded answers: false trips, and answers until a trip where a share
    of the answers becomes the base's."""
    kept = json.loads((results.FOLDER / f"{NAME}.json").read_text())["figures"]
    found = {}
    for number, (adapter, said) in enumerate(kept.items()):
        healthy = [Answered(text, "ok", finish) for text, finish in said["adapter"]]
        base = [Answered(text, "ok", finish) for text, finish in said["base"]]
        panel = Panel(rule(adapter, healthy), None)
        good, bad = _scores(panel, healthy), _scores(panel, base)
        rng = np.random.default_rng([seed, number])
        found[adapter] = {
            "items": len(healthy),
            "digest": said["digest"],
            "signals": {signal.name: round(signal.bound, 4) for signal in panel.signals},
            "false_trips": share(_trips(rng, panel, good, good, 0.0, runs, answers)),
            "until_trip": {
                f"{rate:.0%}": spread(_trips(rng, panel, good, bad, rate, 200, 4000))
                for rate in RATES
            },
        }
    return found


def _scores(panel: Panel, answers: list[Answered]) -> seq.Floats:
    """The panel's scores; NaN where a signal does not apply. [answers, signals]"""
    return np.array([panel.score(one) for one in answers], dtype=np.float64)


def _trips(
    rng: np.random.Generator,
    panel: Panel,
    good: seq.Floats,
    bad: seq.Floats,
    rate: float,
    runs: int,
    answers: int,
) -> Counts:
    """The answer at which each run trips by any signal; 0 for none. A share `rate` of the answers
    is drawn from `bad`, the rest from `good`; bounds and lines are the panel's."""
    bound = np.array([signal.bound for signal in panel.signals])
    line = np.array([1 / signal.alpha for signal in panel.signals])
    stake = seq.stakes(bound)  # [signals, stakes]
    wealth = np.zeros((runs, len(bound), seq.STAKES))
    seen = np.zeros((runs, len(bound)))
    tripped = np.zeros(runs, np.int64)
    for at in range(1, answers + 1):
        scores = np.where(
            (rng.random(runs) < rate)[:, None],
            bad[rng.integers(len(bad), size=runs)],
            good[rng.integers(len(good), size=runs)],
        )  # [runs, signals]
        counted = ~np.isnan(scores)
        grown = seq.growth(stake, bound, np.nan_to_num(scores))
        grown = np.where(counted[..., None], grown, 1.0)
        wealth = seq.advance(wealth, seen, counted, grown)
        seen += counted
        over = (seq.e_value(wealth, seen) >= line).any(axis=1)
        tripped[over & (tripped == 0)] = at
        if rate > 0 and (tripped > 0).all():
            break
    return tripped


async def record() -> dict[str, Any]:
    """Ask the real model, greedy, without a schema."""
    files = resolve_model(None)
    options = EngineOptions(device="cpu", slots=2, max_rows=16, max_len=1024)
    engine = EmbeddedEngine(
        files.path, name=files.name, fingerprint=files.fingerprint, options=options
    )
    engine.start()
    registry = Registry(ROOT / "registry")
    found = {}
    try:
        for source in SOURCES:
            artifact = registry.get(AdapterRef.parse(source.adapter))
            await engine.make_resident(artifact)
            prompts = _prompts(engine, source)
            said = {}
            for name, adapter in (("adapter", artifact), ("base", None)):
                asked = [
                    _ask(engine, f"{source.adapter}-{name}-{at}", prompt, adapter, source)
                    for at, prompt in enumerate(prompts)
                ]
                said[name] = await asyncio.gather(*asked)
            digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
            found[source.adapter] = {"digest": digest, **said}
    finally:
        await engine.close()
    return found


def _prompts(engine: EmbeddedEngine, source: Source) -> list[tuple[int, ...]]:
    path: Path = ROOT / "recipes" / source.items
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [tuple(engine.text.encode_chat(row["messages"])) for row in rows[: source.count]]


async def _ask(
    engine: EmbeddedEngine, name: str, prompt: tuple[int, ...], adapter: Any, source: Source
) -> tuple[str, str]:
    sampling = SamplingParams(max_tokens=source.max_tokens, temperature=0.0)
    request = GenerationRequest(name, prompt, sampling, adapter)
    text, finish = "", ""
    async for delta in engine.generate(request):
        text += delta.text
        if delta.finish is not None:
            finish = delta.finish.value
    return text, finish


if __name__ == "__main__":
    print(results.write(NAME, asyncio.run(record())))
