"""Read a run's folder into a `RunReport`. The only reader of files in this package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from trainer.candidates import ORIGIN, Candidate, read_candidate
from trainer.choice import read_choice
from trainer.errors import TrainerError
from trainer.evals.results import read_evaluation
from trainer.evals.suite import read_suites
from trainer.evals.targets.base import BASE
from trainer.evals.values import Evaluation, Item, Split
from trainer.folder import RunFolder
from trainer.gate.codec import read_verdict
from trainer.gate.pairing import pair
from trainer.report.changes import changed_items, label_distributions
from trainer.report.values import RunReport


def gather(folder: RunFolder) -> RunReport:
    """Everything that the report of the run in `folder` says.

    Raises TrainerError where there is no verdict yet, or the evaluations it rests on are missing.
    """
    if not folder.root.is_dir():
        raise TrainerError(f"{folder.root} is not a folder; name the folder of a run")
    choice = read_choice(folder.choice)
    gate = read_verdict(folder.gate)
    base, adapter = gate_evaluations(folder)
    recipe = _yaml(folder.recipe)
    return RunReport(
        name=str(recipe.get("name", folder.root.name)),
        workflow=str(recipe.get("workflow", "")),
        description=str(recipe.get("description", "")),
        base=base.base_fingerprint,
        choice=choice,
        gate=gate,
        candidates=_candidates(folder),
        changes=changed_items(
            pair(base, adapter), base, adapter, _questions(recipe, base), gate.rule
        ),
        labels=label_distributions(base, adapter),
        steps=tuple(_lines(folder.metrics)),
        manifest=_json(folder.data_manifest),
        checks=_json(folder.data_checks),
        recipe=folder.recipe.read_text(encoding="utf-8") if folder.recipe.is_file() else "",
    )


def gate_evaluations(folder: RunFolder) -> tuple[Evaluation, Evaluation]:
    """The base's and the chosen candidate's results on the gate split. Raises TrainerError."""
    chosen = read_choice(folder.choice).chosen
    found = []
    for model in (BASE, chosen):
        path = folder.evaluation(Split.GATE, model)
        try:
            found.append(read_evaluation(path))
        except FileNotFoundError:
            raise TrainerError(
                f"{path} is missing; the run has not been through the gate, train it to its end"
            ) from None
    return found[0], found[1]


def _candidates(folder: RunFolder) -> tuple[Candidate, ...]:
    made = sorted(folder.candidate("x").parent.glob(f"*/{ORIGIN}"))
    return tuple(read_candidate(path.parent) for path in made)


def _questions(recipe: Mapping[str, Any], base: Evaluation) -> dict[tuple[str, str], Item]:
    """The questions of the suites that still are what was asked; none of those that are not."""
    suites = recipe.get("suites")
    if not isinstance(suites, Mapping):
        return {}
    asked = {suite.suite: suite.digest for suite in base.suites}
    found: dict[tuple[str, str], Item] = {}
    for name in [suites.get("target"), *suites.get("guardrails", ["default"])]:
        try:
            read = read_suites([str(name)])
        except TrainerError:
            continue  # moved or changed since: the answers are still shown
        for suite in read:
            if asked.get(suite.name) == suite.digest:
                found.update({(suite.name, item.id): item for item in suite.items})
    return found


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError) as error:
        raise TrainerError(f"{path} cannot be read: {error}") from None
    return value if isinstance(value, dict) else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TrainerError(f"{path} cannot be read: {error}") from None
    return value if isinstance(value, dict) else {}


def _lines(path: Path) -> Iterable[Mapping[str, Any]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return  # the line that a kill cut short
