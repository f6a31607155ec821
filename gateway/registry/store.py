"""Adapters on disk: published once, whole, and never changed.

A folder appears under its name by one rename, so a reader never sees half an adapter. What
identifies it is its content (`content.py`); what is said of it is its manifest (`manifest.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.errors import AdapterRejected, BadInput, NotFound
from gateway.nearest import nearest
from gateway.registry.catalogue import Catalogue
from gateway.registry.content import CONFIG, WEIGHTS, check_files
from gateway.registry.manifest import MANIFEST, Manifest, Provenance, make_manifest, parse_manifest
from gateway.registry.reading import FileState, check_content, glance, state_of
from gateway.registry.values import NO_GATE, AdapterArtifact, AdapterState, GateResult
from gateway.routing.table import AdapterRef

_Read = AdapterArtifact | str  # an adapter, or why it cannot be had


class Registry:
    """The adapters under `root`, as `root/<name>/<version>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Each with the sizes and times of the files that it was read from.
        self._glanced: dict[AdapterRef, tuple[FileState, _Read]] = {}
        self._checked: dict[AdapterRef, tuple[FileState, _Read]] = {}

    def find(self, ref: AdapterRef) -> AdapterArtifact | None:
        """The adapter, or None. Raises AdapterRejected where its files are not what the manifest
        says: the digest is checked on first read and whenever a file changed."""
        path = self._folder(ref)
        if not (path / MANIFEST).is_file():
            return None
        found = self._check(ref, path, state_of(path))
        if isinstance(found, str):
            raise AdapterRejected(found, adapter=str(ref))
        return found

    def catalogue(self) -> Catalogue:
        """Every adapter, by its manifest and the sizes of its files. A file that changed since it
        was hashed is hashed again; none is for the first time: that is `find`'s."""
        artifacts: dict[AdapterRef, AdapterArtifact] = {}
        damaged: dict[AdapterRef, str] = {}
        for ref in self.refs():
            found = self._glance(ref)
            if isinstance(found, AdapterArtifact):
                artifacts[ref] = found
            else:
                damaged[ref] = found
        return Catalogue(artifacts, damaged)

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
        root = str(self.root)  # plain text on the way over thousands of them
        found = (
            _reference(name, version)
            for name in _folders(root)
            for version in _folders(f"{root}/{name}")
            if os.path.isfile(f"{root}/{name}/{version}/{MANIFEST}")
        )
        return sorted(ref for ref in found if ref is not None)

    def look_ahead(self, ref: AdapterRef) -> None:
        """Have the adapter's files hashed before somebody needs them. Raises as `find`."""
        self.find(ref)

    def list(self) -> list[AdapterArtifact]:
        """Every whole adapter, sorted by reference. `damaged` has the others."""
        return list(self.catalogue().artifacts.values())

    def damaged(self) -> dict[AdapterRef, str]:
        """The adapters that cannot be had, with the reason: one of them hides no other."""
        return dict(self.catalogue().damaged)

    def manifest(self, ref: AdapterRef) -> Manifest:
        """What the adapter was published with. Raises NotFound and AdapterRejected as `get`."""
        return parse_manifest(self.get(ref).path / MANIFEST, str(ref))

    def verify(self, ref: AdapterRef) -> AdapterArtifact:
        """Hash the adapter's files again, whatever their times say. Raises as `get`."""
        self._checked.pop(ref, None)
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
        name = f"{self.root}/{ref.name}"
        for part in (name, f"{name}/{ref.version}"):
            if os.path.islink(part):
                raise AdapterRejected(
                    f"{ref}: {part} is a link; the registry holds adapters themselves, "
                    "publish it with `gateway adapters add`",
                    adapter=str(ref),
                )
        return self.root / ref.name / ref.version

    def _glance(self, ref: AdapterRef) -> _Read:
        """The adapter at a glance, or why it cannot be had."""
        try:
            path = self._folder(ref)
        except AdapterRejected as error:
            return error.message
        state = state_of(path)
        if ref in self._checked:
            return self._check(ref, path, state)
        known = self._glanced.get(ref)
        if known is not None and known[0] == state:
            return known[1]
        found = _read(ref, path, whole=False)
        if isinstance(found, AdapterArtifact):
            self._glanced[ref] = (state, found)
        return found

    def _check(self, ref: AdapterRef, path: Path, state: FileState) -> _Read:
        known = self._checked.get(ref)
        if known is not None and known[0] == state and isinstance(known[1], AdapterArtifact):
            return known[1]  # what is damaged may be mended by what no file's time tells
        found = _read(ref, path, whole=True)
        self._checked[ref] = (state, found)
        return found


def _read(ref: AdapterRef, path: Path, *, whole: bool) -> _Read:
    try:
        artifact = glance(ref, path)
        if whole:
            check_content(artifact)
    except AdapterRejected as error:
        return error.message
    return artifact


def _reference(name: str, version: str) -> AdapterRef | None:
    with contextlib.suppress(BadInput):
        return AdapterRef.parse(f"{name}@{version}")
    return None


def _folders(root: str) -> list[str]:
    """The names of what may be folders in `root`; none where it is none itself."""
    try:
        with os.scandir(root) as entries:
            return [entry.name for entry in entries if not entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
