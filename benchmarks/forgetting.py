"""Forgetting, seen and stopped: an aggressive recipe beside the default one, on one real task.

Both train on the same data with the same seed and are judged by the same gate on the same items.
Writes benchmarks/results/forgetting.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from benchmarks.results import write
from gateway.model.source import resolve_model
from trainer.choice import read_choice
from trainer.evals.results import read_evaluation
from trainer.evals.targets.base import BASE
from trainer.evals.values import Evaluation, Split
from trainer.folder import RunFolder
from trainer.gate.values import GateVerdict, MeasureVerdict
from trainer.pipeline import Run
from trainer.recipe_file import read_recipe

RECIPES = Path(__file__).parent.parent / "recipes" / "package-section"
AGGRESSIVE, ANCHORED = RECIPES / "aggressive.yaml", RECIPES / "recipe.yaml"


def measured(verdict: MeasureVerdict) -> dict[str, Any]:
    """One measure's comparison with the base."""
    return {
        "score": round(verdict.adapter, 4),
        "difference": round(verdict.difference, 4),
        "interval": [round(verdict.low, 4), round(verdict.high, 4)],
        "margin": verdict.measure.margin,
        "unit": verdict.measure.unit,
        "family": verdict.measure.family,
        "items": verdict.items,
        "primary": verdict.measure.primary,
        "verdict": verdict.verdict.value,
    }


def tuned(verdict: GateVerdict, evaluation: Evaluation, folder: RunFolder) -> dict[str, Any]:
    """What became of one recipe."""
    return {
        "target": {v.measure.name: measured(v) for v in verdict.target},
        "guardrails": {v.measure.name: measured(v) for v in verdict.guardrails},
        "gate": {"verdict": verdict.verdict.value, "reason": verdict.reason},
        "chosen": evaluation.model,
        "figures": figures(evaluation),
        "minutes": round(minutes(folder), 1),
    }


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """Figures of whole suites: recalls, shares of labels, perplexity."""
    return {suite.suite: suite.figures for suite in evaluation.suites if suite.figures}


def share_base(source: RunFolder, into: RunFolder) -> None:
    """Give `into` the base's results that `source` has: the same items, asked once."""
    for split in (Split.SELECT, Split.GATE):
        stored, wanted = source.evaluation(split, BASE), into.evaluation(split, BASE)
        if stored.is_file() and not wanted.exists():
            wanted.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stored, wanted)


def minutes(folder: RunFolder) -> float:
    """What the run computed for, by its own records: steps and evaluations, without the shared
    base's. A run that was stopped and went on has not lost count."""
    seconds = sum(json.loads(line)["seconds"] for line in folder.metrics.read_text().splitlines())
    for path in folder.root.glob("evals/*/*.json"):
        if path.stem != BASE:
            seconds += read_evaluation(path).seconds
    return float(seconds / 60)


def main() -> None:
    """Run both recipes and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/forgetting"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = resolve_model(None, progress=print)
    result: dict[str, Any] = {}
    verdicts: dict[str, GateVerdict] = {}
    for name, path in (("aggressive", AGGRESSIVE), ("anchored", ANCHORED)):
        folder = RunFolder(arguments.runs / name)
        if name == "anchored":
            share_base(RunFolder(arguments.runs / "aggressive"), folder)
        verdict = Run(read_recipe(path), model, folder, show=True).execute()
        if verdict is None:
            return  # a process that only helped to train
        chosen = read_choice(folder.choice).chosen
        evaluation = read_evaluation(folder.evaluation(Split.GATE, chosen))
        result[name] = tuned(verdict, evaluation, folder)
        verdicts[name] = verdict
        print(f"{name}: {verdict.verdict.value}: {verdict.reason}", flush=True)
    base = read_evaluation(RunFolder(arguments.runs / "anchored").evaluation(Split.GATE, BASE))
    result["base"] = {
        "target": {v.measure.name: round(v.base, 4) for v in verdicts["anchored"].target},
        "guardrails": {v.measure.name: round(v.base, 4) for v in verdicts["anchored"].guardrails},
        "figures": figures(base),
    }
    gains = {name: each.target[0].difference for name, each in verdicts.items()}
    result["gain_kept"] = round(gains["anchored"] / gains["aggressive"], 3)
    shared = sum(
        read_evaluation(folder.evaluation(split, BASE)).seconds
        for split in (Split.SELECT, Split.GATE)
    )
    result["minutes"] = round(sum(result[n]["minutes"] for n in verdicts) + shared / 60, 1)
    print(write("forgetting", result))


if __name__ == "__main__":
    main()
