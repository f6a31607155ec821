"""One adapter's folder to an `AdapterArtifact`: at a glance, or with every byte hashed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gateway.errors import AdapterRejected
from gateway.registry.content import CONFIG, WEIGHTS, adapter_digest, check_files
from gateway.registry.manifest import MANIFEST, Manifest, parse_manifest
from gateway.registry.staging import REPORT
from gateway.registry.values import NO_GATE, AdapterArtifact
from gateway.routing.table import AdapterRef

FileState = tuple[int, ...]  # sizes and times (ns) of an adapter's files; () of one that is away


def state_of(path: Path) -> FileState:
    """What changes when a file of the adapter in `path` does."""
    parts: list[int] = []
    folder = str(path)
    for name in (MANIFEST, CONFIG, WEIGHTS):
        try:
            stat = os.stat(f"{folder}/{name}")
        except OSError:
            continue
        parts += [stat.st_size, stat.st_mtime_ns]
    return tuple(parts)


def glance(ref: AdapterRef, path: Path) -> AdapterArtifact:
    """The adapter as its manifest says, its files being there and of the stated size. Raises
    AdapterRejected."""
    try:
        check_files(path, str(ref))
        manifest = parse_manifest(path / MANIFEST, str(ref))
        size = (path / WEIGHTS).stat().st_size
    except OSError as error:
        raise AdapterRejected(
            f"{ref}: {path} cannot be read: {error}; give the gateway's user leave to read it",
            adapter=str(ref),
        ) from None
    require_ref(manifest, ref, str(path / MANIFEST))
    if manifest.size_bytes != size:
        raise AdapterRejected(
            f"{ref}: the files in {path} are not those the manifest was written for "
            f"({WEIGHTS} has {size} bytes, recorded {manifest.size_bytes}); publish it again",
            adapter=str(ref),
        )
    return artifact_of(manifest, path)


def check_content(artifact: AdapterArtifact) -> None:
    """Hash the files of `artifact`. Raises AdapterRejected where they are not what it says."""
    ref, path = artifact.ref, artifact.path
    try:
        found = adapter_digest(path, str(ref))
    except OSError as error:
        raise AdapterRejected(f"{ref}: {path} cannot be read: {error}", adapter=str(ref)) from None
    if artifact.digest != found:
        raise AdapterRejected(
            f"{ref}: the files in {path} are not those the manifest was written for "
            f"(digest {found[:12]}, recorded {artifact.digest[:12]}); publish it again",
            adapter=str(ref),
        )


def require_ref(manifest: Manifest, ref: AdapterRef, where: str) -> None:
    """Raises AdapterRejected where the manifest at `where` is another adapter's."""
    if manifest.ref != ref:
        raise AdapterRejected(
            f"{ref}: {where}: says it is {manifest.ref}; publish it under that name",
            adapter=str(ref),
        )


def artifact_of(manifest: Manifest, path: Path) -> AdapterArtifact:
    """What `manifest` says, of the files in `path`."""
    return AdapterArtifact(
        ref=manifest.ref,
        digest=manifest.digest,
        path=path,
        base_name=manifest.base.name,
        base_fingerprint=manifest.base.fingerprint,
        rank=manifest.rank,
        target_modules=manifest.target_modules,
        size_bytes=manifest.size_bytes,
        state=manifest.state,
        workflow=manifest.workflow,
        created_at=manifest.created_at,
        description=manifest.description,
        gate=manifest.gate.result() if manifest.gate else NO_GATE,
    )


def read_report(artifact: AdapterArtifact) -> dict[str, Any] | None:
    """The eval report among the adapter's files, if there is one. Raises AdapterRejected where it
    cannot be read."""
    path = artifact.path / REPORT
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdapterRejected(
            f"{artifact.ref}: {path} is no JSON: {error}", adapter=str(artifact.ref)
        ) from None
    if not isinstance(report, dict):
        raise AdapterRejected(
            f"{artifact.ref}: {path} is not a JSON object", adapter=str(artifact.ref)
        )
    return report
