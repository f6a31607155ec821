"""Adapters on disk: published once, whole, and never changed.

A folder appears under its name by one rename, so a reader never sees half an adapter. What
identifies it is its content (`content.py`); what is said of it is its manifest (`manifest.py`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.errors import AdapterRejected, BadInput, NotFound
from gateway.nearest import nearest
from gateway.registry.content import CONFIG, WEIGHTS, adapter_digest, check_files
from gateway.registry.manifest import MANIFEST, Manifest, Provenance, make_manifest, parse_manifest
from gateway.registry.values import NO_GATE, AdapterArtifact, AdapterState, GateResult
from gateway.routing.table import AdapterRef


class Registry:
    """The adapters under `root`, as `root/<name>/<version>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[AdapterRef, tuple[tuple[int, ...], AdapterArtifact]] = {}

    def find(self, ref: AdapterRef) -> AdapterArtifact | None:
        """The adapter, or None. Raises AdapterRejected where its files are not what the manifest
        says: the digest is checked on first read and whenever a file changed."""
        path = self._folder(ref)
        if not (path / MANIFEST).is_file():
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
            near = nearest(str(ref), map(str, self.refs()))
            hint = f"; did you mean {near}?" if near else ""
            raise NotFound(
                f"adapter {ref} is not in the registry {self.root}{hint}",
                param="adapter",
                nearest=near,
            )
        return found

    def refs(self) -> list[AdapterRef]:
        """Every adapter's reference, sorted; nothing is read but names. What is staged, and what
        has a name that no reference can have, is not in the registry."""
        found = []
        for manifest in self.root.glob(f"*/*/{MANIFEST}"):
            folder = manifest.parent
            with contextlib.suppress(BadInput):
                found.append(AdapterRef.parse(f"{folder.parent.name}@{folder.name}"))
        return sorted(found)

    def list(self) -> list[AdapterArtifact]:
        """Every whole adapter, sorted by reference. `damaged` has the others."""
        return [artifact for ref in self.refs() if (artifact := self._whole(ref)) is not None]

    def damaged(self) -> dict[AdapterRef, str]:
        """The adapters that `find` refuses, with the reason: one of them hides no other."""
        reasons: dict[AdapterRef, str] = {}
        for ref in self.refs():
            try:
                self.find(ref)
            except AdapterRejected as error:
                reasons[ref] = error.message
        return reasons

    def manifest(self, ref: AdapterRef) -> Manifest:
        """What the adapter was published with. Raises NotFound and AdapterRejected as `get`."""
        return parse_manifest(self.get(ref).path / MANIFEST, str(ref))

    def verify(self, ref: AdapterRef) -> AdapterArtifact:
        """Hash the adapter's files again, whatever their times say. Raises as `get`."""
        self._known.pop(ref, None)
        return self.get(ref)

    def report(self, ref: AdapterRef) -> dict[str, Any] | None:
        """The eval report the adapter was published with, if it has one. Raises AdapterRejected
        where it cannot be read."""
        path = self.get(ref).path / "report.json"
        if not path.is_file():
            return None
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise AdapterRejected(f"{ref}: {path} is no JSON: {error}", adapter=str(ref)) from None
        if not isinstance(report, dict):
            raise AdapterRejected(f"{ref}: {path} is not a JSON object", adapter=str(ref))
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
        gate: GateResult = NO_GATE,
        provenance: Provenance | None = None,
    ) -> AdapterArtifact:
        """Publish the PEFT adapter in `folder` as `ref`, with the verdict of its evals and what it
        was made from.

        Raises BadInput where `ref` exists with other content, AdapterRejected where the folder is
        no PEFT LoRA adapter or holds what no adapter may hold. Nothing is left behind on a
        failure; publishing the same content again answers what is there.
        """
        AdapterRef.parse(str(ref))
        check_files(folder, str(ref))
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".publishing-", dir=self.root) as temporary:
            staged = Path(temporary) / "adapter"
            staged.mkdir()
            for name in (CONFIG, WEIGHTS):
                shutil.copyfile(folder / name, staged / name)
            # Of the copy: the source may be written to while it is read.
            manifest = make_manifest(
                staged,
                ref,
                base_name=base_name,
                base_fingerprint=base_fingerprint,
                workflow=workflow,
                description=description,
                state=state,
                gate=gate,
                provenance=provenance,
            )
            if report is not None:
                (staged / "report.json").write_text(json.dumps(report, indent=2) + "\n")
            if recipe is not None:
                (staged / "recipe.yaml").write_text(recipe, encoding="utf-8")
            (staged / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
            target = self._folder(ref)
            target.parent.mkdir(exist_ok=True)
            try:
                staged.rename(target)
            except OSError as error:
                existing = self.find(ref)
                if existing is None:  # something that is no adapter is in the way
                    raise BadInput(
                        f"{ref} cannot be put at {target}: {error}; move away what is there",
                        param="version",
                    ) from None
                if existing.digest != manifest.digest:
                    raise BadInput(
                        f"{ref} exists with other content; adapters never change, "
                        "publish a new version",
                        param="version",
                    ) from None
        return self.get(ref)

    def _folder(self, ref: AdapterRef) -> Path:
        """Where `ref` lies. A link on the way would let it change, or lie elsewhere."""
        folder = self.root / ref.name / ref.version
        for part in (folder.parent, folder):
            if part.is_symlink():
                raise AdapterRejected(
                    f"{ref}: {part} is a link; the registry holds adapters themselves, "
                    "publish it with `gateway adapters add`",
                    adapter=str(ref),
                )
        return folder

    def _whole(self, ref: AdapterRef) -> AdapterArtifact | None:
        with contextlib.suppress(AdapterRejected):
            return self.find(ref)
        return None

    def _read(self, ref: AdapterRef, path: Path) -> AdapterArtifact:
        check_files(path, str(ref))
        manifest = parse_manifest(path / MANIFEST, str(ref))
        found = adapter_digest(path, str(ref))
        if manifest.ref != ref:
            raise AdapterRejected(
                f"{ref}: {path / MANIFEST}: says it is {manifest.ref}; publish it under that name",
                adapter=str(ref),
            )
        if manifest.digest != found:
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
            gate=manifest.gate.result() if manifest.gate else NO_GATE,
        )


def _state_of(path: Path) -> tuple[int, ...]:
    parts: list[int] = []
    for name in (MANIFEST, CONFIG, WEIGHTS):
        file = path / name
        if file.exists():
            stat = file.stat()
            parts += [stat.st_size, stat.st_mtime_ns]
    return tuple(parts)
