"""An adapter as it is to be published: copied, measured and described in a folder of its own, so
that nothing that writes to the source meanwhile can be half in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import BadInput
from gateway.registry.content import CONFIG, WEIGHTS, check_files
from gateway.registry.manifest import MANIFEST, Manifest, Provenance, make_manifest
from gateway.registry.values import NO_GATE, AdapterState, GateResult
from gateway.routing.table import AdapterRef

REPORT, RECIPE = "report.json", "recipe.yaml"


@dataclass(frozen=True, slots=True)
class Publication:
    """What is said of an adapter when it is published."""

    ref: AdapterRef
    base_name: str
    base_fingerprint: str
    workflow: str = ""
    description: str = ""
    state: AdapterState = AdapterState.CANDIDATE
    report: Mapping[str, Any] | None = None
    recipe: str | None = None
    gate: GateResult = NO_GATE
    provenance: Provenance | None = None


def stage(source: Path, said: Publication, target: Path) -> Manifest:
    """Make `target` the whole adapter of the PEFT folder `source`. Raises AdapterRejected where
    that is no LoRA adapter or holds what no adapter may hold, BadInput for a bad reference."""
    AdapterRef.parse(str(said.ref))
    check_files(source, str(said.ref))
    target.mkdir()
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(source / name, target / name)
    manifest = make_manifest(
        target,
        said.ref,
        base_name=said.base_name,
        base_fingerprint=said.base_fingerprint,
        workflow=said.workflow,
        description=said.description,
        state=said.state,
        gate=said.gate,
        provenance=said.provenance,
    )
    if said.report is not None:
        (target / REPORT).write_text(json.dumps(said.report, indent=2) + "\n")
    if said.recipe is not None:
        (target / RECIPE).write_text(said.recipe, encoding="utf-8")
    write_manifest(target, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest beside the files that it is of."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")


def other_content(ref: AdapterRef) -> BadInput:
    """The refusal of a reference that has other content already."""
    return BadInput(
        f"{ref} exists with other content; adapters never change, publish a new version",
        param="version",
    )
