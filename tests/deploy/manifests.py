"""Reads what deploy/ ships, for the tests beside this file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gateway.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

# Variables that are the project's, and no setting: what the cache and the CLI read.
OTHER_NAMES = {f"{PREFIX}CACHE", f"{PREFIX}CONFIG"}


def documents(path: Path) -> list[dict[str, Any]]:
    """The YAML documents of a file."""
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def kustomizations() -> list[Path]:
    return sorted(KUBERNETES.rglob("kustomization.yaml"))


def resources() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every Kubernetes object that a kustomization names, with its file."""
    for kustomization in kustomizations():
        for name in documents(kustomization)[0].get("resources", []):
            path = kustomization.parent / name
            if path.is_file():
                for document in documents(path):
                    yield path, document


def gateway_variables(text: str) -> set[str]:
    """The names of the project's environment variables in `text`."""
    return set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", text)) - OTHER_NAMES


def settings_names() -> set[str]:
    return {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
