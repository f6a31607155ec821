"""What the registry knows of an adapter, as values.

Layout on disk: `REGISTRY/<name>/<version>/` holds `adapter_config.json` and
`adapter_model.safetensors` (PEFT's format), `manifest.json`, `report.json` (evals) and
`recipe.yaml`. Nothing else is opened; pickle never.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.routing.table import AdapterRef


class AdapterState(StrEnum):
    CANDIDATE = "candidate"
    APPROVED = "approved"
    REVOKED = "revoked"


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
