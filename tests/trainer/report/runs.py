"""A finished run's folder without any training: everything the report reads, made from draws."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import yaml

from tests.trainer.gate.evaluations import FINGERPRINT
from trainer.candidates import Candidate
from trainer.choice import choice_to_json, choose, score_candidate
from trainer.evals.results import write_evaluation
from trainer.evals.suite import read_suites
from trainer.evals.values import Evaluation, ItemResult, Measure, Split, SuiteKind, SuiteResult
from trainer.folder import RunFolder
from trainer.gate.codec import verdict_to_json
from trainer.gate.judge import judge
from trainer.gate.pairing import pair
from trainer.gate.values import GateRule

LABELS = ("admin", "devel", "games", "net")
HOSTILE = '<script>alert("x")</script> `|` ![x](http://x) $a$ &amp; \n# not a heading'
RULE = GateRule(resamples=300)
_GUARDED = {  # suite: check, unit, margin, how far an adapter of strength 1 moves it
    "facts": ("exact_match", "share", 0.15, -0.02),
    "chat": ("no_over_use", "share", 0.15, -0.01),
    "refusals": ("refuses", "share", 0.15, 0.0),
    "near": ("choice_probability", "share", 0.1, 0.01),
    "fluency": ("perplexity", "nats/token", 0.15, -0.03),
    "drift": ("kl", "nats/token", 0.2, -0.06),
}


def make_run(root: Path, *, name: str = "package-section", harm: float = 1.0) -> RunFolder:
    """A run whose guardrails lose `harm` times what a careful one loses."""
    folder = RunFolder(root)
    suite = _target_suite(root / "suite")
    measures = _measures(suite)
    counts = dict.fromkeys(measures, 150)
    target = next(m for m in measures if m.kind is SuiteKind.TARGET)
    base = {split: _evaluation("base", split, counts, suite, 0, 0, 0) for split in _SPLITS}
    scores = []
    evaluations = {}
    for step, gain in ((25, 0.3), (50, 0.5), (75, 0.55)):
        for strength in (1.0, 0.5):
            candidate = Candidate(
                f"step-{step:05d}@{strength:g}", (step,), strength, 8, step / 25 * strength, 0.0
            )
            for split in _SPLITS:
                evaluations[candidate.name, split] = _evaluation(
                    candidate.name,
                    split,
                    counts,
                    suite,
                    gain * strength**0.5,
                    harm * strength * step / 50 * (4 if step == 75 else 1),
                    step,
                )
            pairs = pair(base[Split.SELECT], evaluations[candidate.name, Split.SELECT])
            scores.append(score_candidate(candidate.name, pairs, RULE, drift=candidate.update_norm))
            made = folder.candidate(candidate.name)
            made.mkdir(parents=True)
            (made / "candidate.json").write_text(json.dumps(asdict(candidate)))
    choice = choose(scores, target)
    folder.choice.write_text(choice_to_json(choice))
    adapter = evaluations[choice.chosen, Split.GATE]
    verdict = judge(pair(base[Split.GATE], adapter), RULE)
    folder.gate.write_text(verdict_to_json(verdict))
    for evaluation in (base[Split.GATE], adapter):
        write_evaluation(folder.evaluation(Split.GATE, evaluation.model), evaluation)
    _write_rest(folder, name, root / "suite")
    return folder


_SPLITS = (Split.SELECT, Split.GATE)


def _target_suite(folder: Path) -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    rows = [
        {
            "id": f"t{i}",
            "messages": [{"role": "user", "content": f"{HOSTILE if i < 3 else 'A package'} {i}"}],
            "expected": str(random.choice(LABELS, p=[0.2, 0.2, 0.2, 0.4])),
        }
        for i in range(600)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = {
        "name": "sections",
        "kind": "target",
        "family": "triage",
        "description": "Sections of packages.",
        "source": "made here",
        "licence": "CC0-1.0",
        "items": "items.jsonl",
        "checks": [{"check": "label", "params": {"labels": list(LABELS)}}],
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(spec))
    return folder


def _measures(suite: Path) -> list[Measure]:
    (target,) = read_suites([suite])
    guarded = [
        Measure(name, check, SuiteKind.GUARDRAIL, name, _binary(check), unit, margin)
        for name, (check, unit, margin, _) in _GUARDED.items()
    ]
    return [*target.measures, *guarded]


def _binary(check: str) -> bool:
    return check in ("exact_match", "no_over_use", "refuses")


def _evaluation(
    model: str,
    split: Split,
    counts: dict[Measure, int],
    suite: Path,
    gain: float,
    harm: float,
    seed: int,
) -> Evaluation:
    random = np.random.default_rng([seed, split is Split.GATE])
    (target,) = read_suites([suite])
    results = []
    for measure, count in counts.items():
        if measure.kind is SuiteKind.TARGET:
            items = target.part(split)
            says = [str(item.expected) if random.random() < 0.2 + gain else "net" for item in items]
            answers = [
                f"{s}{HOSTILE}" if i % 2 and model != "base" else s for i, s in enumerate(says)
            ]
            scored = [
                (item.id, float(said == item.expected), answer)
                for item, said, answer in zip(items, says, answers, strict=True)
            ]
            figures = {
                "label": {
                    "answers": dict(Counter(says)),
                    "truth": dict(Counter(str(item.expected) for item in items)),
                }
            }
            results.append(_result(measure, target.digest, scored, figures))
            continue
        shift = _GUARDED[measure.suite][3] * harm
        truth = np.random.default_rng([7, len(measure.suite)])
        before = truth.random(count) if measure.unit == "share" else truth.normal(-3, 0.5, count)
        if measure.check == "kl":
            before = np.zeros(count)
        if measure.binary:
            before = (before < 0.7).astype(float)
            flips = random.random(count)
            after = np.where(flips < 0.01, 1.0, np.where(flips < 0.01 - 3 * shift, 0.0, before))
        else:
            after = before + random.normal(shift, abs(shift) / 2, count)
        values = before if model == "base" else after
        scored = [
            (f"{measure.suite}-{i}", float(v), f"{model} says {i}" if measure.binary else "")
            for i, v in enumerate(values)
        ]
        results.append(_result(measure, "d" * 64, scored, {}))
    return Evaluation(
        model, split, tuple(results), FINGERPRINT, None if model == "base" else "a" * 64, 1.0
    )


def _result(
    measure: Measure,
    digest: str,
    scored: Sequence[tuple[str, float, str]],
    figures: Mapping[str, object],
) -> SuiteResult:
    return SuiteResult(
        measure.suite,
        digest,
        (measure,),
        tuple(ItemResult(i, {measure.check: score}, answer) for i, score, answer in scored),
        figures,
    )


def _write_rest(folder: RunFolder, name: str, suite: Path) -> None:
    folder.data_manifest.parent.mkdir(parents=True, exist_ok=True)
    part = {"source": "made here", "licence": "CC0-1.0", "rows": 400, "loss_tokens": 5200}
    folder.data_manifest.write_text(
        json.dumps(
            {
                "parts": [
                    {**part, "kind": "target", "file": "rows.jsonl", "used": 391},
                    {**part, "kind": "chat", "file": HOSTILE, "used": 380},
                ],
                "shares": {"target": 0.7, "chat": 0.3},
            }
        )
    )
    folder.data_checks.write_text(
        json.dumps(
            {
                "duplicates": [{}] * 9,
                "leaks": [],
                "balance": {"answers": 4, "majority": "net", "share": 0.4},
                "examples": [f"<|im_start|>user {HOSTILE}⟦net⟧"],
            }
        )
    )
    random = np.random.default_rng(0)
    steps = [
        {
            "step": step,
            "loss_target": 3.1 * 0.97**step + 0.2 + 0.1 * random.random(),
            "loss_anchors": 1.2 + 0.1 * random.random(),
            "kl": 0.03 + 0.0005 * step + 0.01 * random.random(),
        }
        for step in range(1, 76)
    ]
    folder.metrics.write_text("".join(json.dumps(s) + "\n" for s in steps) + '{"step": 76, "lo')
    folder.recipe.write_text(
        yaml.safe_dump(
            {
                "name": name,
                "workflow": "package-triage",
                "description": HOSTILE,
                "suites": {"target": str(suite), "guardrails": []},
            }
        )
    )
