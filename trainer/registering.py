"""Put a run's chosen adapter into the registry, with all that is known of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Any

from gateway.model.source import ModelFiles
from gateway.registry.base import AdapterRegistry
from gateway.registry.content import adapter_digest
from gateway.registry.manifest import Provenance
from gateway.registry.report import ANSWERS
from gateway.registry.values import AdapterArtifact, AdapterState, GateResult, GateVerdict
from gateway.routing.table import AdapterRef
from trainer.choice import read_choice
from trainer.errors import TrainerError
from trainer.evals.results import read_evaluation
from trainer.evals.values import Evaluation, Split, SuiteKind
from trainer.folder import RunFolder
from trainer.gate.codec import read_verdict
from trainer.gate.values import GateVerdict as RunVerdict
from trainer.recipe_file import read_recipe

_PACKAGE = "model-routing-gateway"


def register(
    folder: RunFolder,
    registry: AdapterRegistry,
    model: ModelFiles,
    *,
    version: str | None = None,
    state: AdapterState = AdapterState.CANDIDATE,
) -> AdapterArtifact:
    """Publish the adapter of the run in `folder` as the next version of its recipe's name.

    A run that is registered already answers what is there. Raises TrainerError where the run is
    not whole, its adapter is not the one that was judged, or `model` is not the base it was
    trained on; BadInput and AdapterRejected as `AdapterRegistry.add`.
    """
    recipe = read_recipe(folder.recipe)
    verdict = read_verdict(folder.gate)
    judged = read_evaluation(folder.evaluation(Split.GATE, read_choice(folder.choice).chosen))
    digest = adapter_digest(folder.adapter, recipe.name)
    if digest != judged.adapter_digest:
        raise TrainerError(
            f"{folder.adapter} is not the adapter that was judged; run `trainer train` again"
        )
    if model.fingerprint != judged.base_fingerprint:
        raise TrainerError(
            f"the run was trained on the base {judged.base_fingerprint[:12]}, and {model.name} is "
            f"{model.fingerprint[:12]}; name the run's base with --model"
        )
    for ref, known in registry.catalogue().artifacts.items():
        same = ref.name == recipe.name and version in (None, ref.version)
        if same and known.digest == digest:
            return registry.get(ref)
    return registry.add(
        folder.adapter,
        ref=AdapterRef(recipe.name, version or next_version(registry, recipe.name)),
        base_name=model.name,
        base_fingerprint=model.fingerprint,
        workflow=recipe.workflow,
        description=recipe.description,
        state=state,
        report={**_json(folder.summary), ANSWERS: target_answers(judged)},
        recipe=folder.recipe.read_text(encoding="utf-8"),
        gate=gate_result(verdict),
        provenance=provenance(folder, judged),
    )


def next_version(registry: AdapterRegistry, name: str) -> str:
    """One more than the highest whole number among the versions of `name`; "1" for the first."""
    taken = [ref.version for ref in registry.refs() if ref.name == name]
    return str(max((int(v) for v in taken if v.isdecimal()), default=0) + 1)


def gate_result(verdict: RunVerdict) -> GateResult:
    """The verdict as the registry keeps it: in a word, a sentence and the differences."""
    return GateResult(
        GateVerdict(verdict.verdict.value),
        verdict.reason,
        {
            each.measure.name: round(each.difference, 6)
            for each in (*verdict.target, *verdict.guardrails)
        },
    )


def target_answers(judged: Evaluation) -> dict[str, list[dict[str, str]]]:
    """What the adapter answered in its target suites: a guard's reference for production."""
    return {
        suite.suite: [
            {"text": item.answer, "finish": item.finish} for item in suite.items if item.finish
        ]
        for suite in judged.suites
        if any(measure.kind is SuiteKind.TARGET for measure in suite.measures)
    }


def provenance(folder: RunFolder, judged: Evaluation) -> Provenance:
    """What went into the run, by digest."""
    data = _json(folder.data_manifest)
    return Provenance(
        code=code_version(),
        recipe=hashlib.sha256(folder.recipe.read_bytes()).hexdigest(),
        data={f"{part['field']} {part['file']}": part["sha256"] for part in data["parts"]},
        suites={suite.suite: suite.digest for suite in judged.suites},
    )


def code_version() -> str:
    """The package's version, with the commit where the code runs from a checkout of it."""
    version = importlib.metadata.version(_PACKAGE)
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{version} ({found.stdout.strip()})" if found.returncode == 0 else version


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrainerError(f"{path} is missing; run `trainer train` and `trainer report`") from None
    except ValueError as error:
        raise TrainerError(f"{path} is no JSON: {error}") from None
    return found
