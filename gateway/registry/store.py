"""Adapters on disk: published once, whole, and never changed.

The digest that identifies an adapter is sha256 over its `adapter_config.json` (canonical JSON)
and the bytes of `adapter_model.safetensors`. A folder appears under its name by one rename, so a
reader never sees half an adapter.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.errors import AdapterRejected, BadInput, NotFound
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing.table import AdapterRef

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_BLOCK = 1 << 20


class _Base(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    fingerprint: str


class Manifest(BaseModel):
    """`manifest.json`, strictly read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: int = 1
    name: str
    version: str
    digest: str
    base: _Base
    rank: int
    alpha: float
    use_rslora: bool
    target_modules: tuple[str, ...]
    size_bytes: int
    created_at: str
    workflow: str = ""
    description: str = ""
    state: AdapterState = AdapterState.CANDIDATE


class Registry:
    """The adapters under `root`, as `root/<name>/<version>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[AdapterRef, tuple[tuple[int, ...], AdapterArtifact]] = {}

    def find(self, ref: AdapterRef) -> AdapterArtifact | None:
        """The adapter, or None. Raises AdapterRejected where its files are not what the manifest
        says: the digest is checked on first read and whenever a file changed."""
        path = self.root / ref.name / ref.version
        if not (path / "manifest.json").is_file():
            return None
        state = _state_of(path)
        known = self._known.get(ref)
        if known is not None and known[0] == state:
            return known[1]
        artifact = self._read(ref, path)
        self._known[ref] = (state, artifact)
        return artifact

    def get(self, ref: AdapterRef) -> AdapterArtifact:
        """The adapter. Raises NotFound naming the nearest one there is."""
        found = self.find(ref)
        if found is None:
            names = [str(a) for a in self.refs()]
            near = difflib.get_close_matches(str(ref), names, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise NotFound(
                f"adapter {ref} is not in the registry {self.root}{hint}",
                param="adapter",
                nearest=near[0] if near else None,
            )
        return found

    def refs(self) -> list[AdapterRef]:
        """Every adapter's reference, sorted; nothing is read but names."""
        found = [
            AdapterRef(m.parent.parent.name, m.parent.name)
            for m in self.root.glob("*/*/manifest.json")
            if not m.parent.parent.name.startswith(".")
        ]
        return sorted(found)

    def list(self) -> list[AdapterArtifact]:
        """Every adapter, sorted by reference. Raises AdapterRejected as `find` does."""
        return [self.get(ref) for ref in self.refs()]

    def report(self, ref: AdapterRef) -> dict[str, Any] | None:
        """The eval report the adapter was published with, if it has one."""
        path = self.get(ref).path / "report.json"
        if not path.is_file():
            return None
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report

    def add(
        self,
        folder: Path,
        *,
        ref: AdapterRef,
        base_name: str,
        base_fingerprint: str,
        workflow: str = "",
        description: str = "",
        state: AdapterState = AdapterState.CANDIDATE,
        report: Mapping[str, Any] | None = None,
        recipe: str | None = None,
    ) -> AdapterArtifact:
        """Publish the PEFT adapter in `folder` as `ref`.

        Raises BadInput where `ref` exists with other content, AdapterRejected where the folder is
        no PEFT adapter. Nothing is left behind on a failure.
        """
        AdapterRef.parse(str(ref))
        digest = adapter_digest(folder, str(ref))
        existing = self.find(ref)
        if existing is not None:
            if existing.digest == digest:
                return existing
            raise BadInput(
                f"{ref} exists with other content; adapters never change, publish a new version",
                param="version",
            )
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        manifest = Manifest(
            name=ref.name,
            version=ref.version,
            digest=digest,
            base=_Base(name=base_name, fingerprint=base_fingerprint),
            rank=config.get("r", 0),
            alpha=config.get("lora_alpha", math.nan),
            use_rslora=bool(config.get("use_rslora")),
            target_modules=tuple(sorted(_as_list(config.get("target_modules")))),
            size_bytes=(folder / _WEIGHTS).stat().st_size,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            workflow=workflow,
            description=description,
            state=state,
        )
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".publishing-", dir=self.root) as temporary:
            staged = Path(temporary) / "adapter"
            staged.mkdir()
            for name in (_CONFIG, _WEIGHTS):
                shutil.copyfile(folder / name, staged / name)
            if report is not None:
                (staged / "report.json").write_text(json.dumps(report, indent=2) + "\n")
            if recipe is not None:
                (staged / "recipe.yaml").write_text(recipe)
            (staged / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")
            target = self.root / ref.name / ref.version
            target.parent.mkdir(exist_ok=True)
            try:
                staged.rename(target)
            except OSError as error:
                raise BadInput(f"{ref} was published by another process: {error}") from None
        return self.get(ref)

    def _read(self, ref: AdapterRef, path: Path) -> AdapterArtifact:
        try:
            manifest = Manifest.model_validate_json((path / "manifest.json").read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise AdapterRejected(
                f"{path / 'manifest.json'}: {field}: {first['msg']}", adapter=str(ref)
            ) from None
        found = adapter_digest(path, str(ref))
        if (manifest.name, manifest.version) != (ref.name, ref.version) or manifest.digest != found:
            raise AdapterRejected(
                f"{ref}: the files in {path} are not those the manifest was written for "
                f"(digest {found[:12]}, recorded {manifest.digest[:12]}); publish it again",
                adapter=str(ref),
            )
        return AdapterArtifact(
            ref=ref,
            digest=found,
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
        )


def adapter_digest(folder: Path, name: str) -> str:
    """The identity of the adapter in `folder`, as sha256 hex. Raises AdapterRejected where a
    file is missing or a link, or the configuration is no JSON."""
    digest = hashlib.sha256()
    for file in (_CONFIG, _WEIGHTS):
        path = folder / file
        if path.is_symlink() or not path.is_file():
            raise AdapterRejected(f"{name}: {path} is not a regular file", adapter=name)
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdapterRejected(f"{name}: {_CONFIG} is no JSON: {error}", adapter=name) from None
    digest.update(json.dumps(config, sort_keys=True).encode())
    with (folder / _WEIGHTS).open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _state_of(path: Path) -> tuple[int, ...]:
    parts: list[int] = []
    for name in ("manifest.json", _CONFIG, _WEIGHTS):
        file = path / name
        if file.exists():
            stat = file.stat()
            parts += [stat.st_size, stat.st_mtime_ns]
    return tuple(parts)


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value or ()]
