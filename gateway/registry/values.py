"""What the registry knows of an adapter, as values.

Layout on disk: `REGISTRY/<name>/<version>/` holds `adapter_config.json` and
`adapter_model.safetensors` (PEFT's format), `manifest.json`, `report.json` (evals) and
`recipe.yaml`. Nothing else is opened; pickle never.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gateway.routing.table import AdapterRef


class AdapterState(StrEnum):
    CANDIDATE = "candidate"
    APPROVED = "approved"
    REVOKED = "revoked"


class GateVerdict(StrEnum):
    """What the evals that an adapter was published with came to."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"  # too few items to say
    NONE = "none"  # published without: made elsewhere, or never measured


@dataclass(frozen=True, slots=True)
class GateResult:
    """An adapter's verdict with the one sentence and the figures that it rests on."""

    verdict: GateVerdict = GateVerdict.NONE
    reason: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)  # by name, as in the report


NO_GATE = GateResult()


@dataclass(frozen=True, slots=True)
class AdapterArtifact:
    """One registered adapter. `digest` identifies it: sha256 over its config and weights."""

    ref: AdapterRef
    digest: str  # sha256 hex
    path: Path  # the folder
    base_name: str
    base_fingerprint: str
    rank: int
    target_modules: tuple[str, ...]
    size_bytes: int
    state: AdapterState  # as published in the manifest; the log's verdicts lie above it
    workflow: str = ""
    created_at: str = ""  # ISO 8601, UTC
    description: str = ""
    gate: GateResult = NO_GATE
