"""Adapters on disk: published once, whole, and never changed.

A folder appears under its name by one rename, so a reader never sees half an adapter. What
identifies it is its content (`content.py`); what is said of it is its manifest (`manifest.py`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from gateway.errors import AdapterRejected, BadInput, RegistryUnavailable
from gateway.registry.base import not_found
from gateway.registry.catalogue import Catalogue
from gateway.registry.manifest import MANIFEST, Manifest, Provenance, parse_manifest
from gateway.registry.reading import FileState, check_content, glance, read_report, state_of
from gateway.registry.staging import Publication, other_content, stage
from gateway.registry.values import NO_GATE, AdapterArtifact, AdapterState, GateResult
from gateway.routing.table import AdapterRef

_Read = AdapterArtifact | str  # an adapter, or why it cannot be had
PUBLISHING = ".publishing-"  # what a staged adapter's folder is called until it is whole


class Registry:
    """The adapters under `root`, as `root/<name>/<version>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)
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

    def at_hand(self, artifact: AdapterArtifact) -> AbstractContextManager[None]:
        """See `AdapterRegistry.at_hand`. They are here."""
        return nullcontext()

    def get(self, ref: AdapterRef) -> AdapterArtifact:
        """The adapter. Raises NotFound naming the nearest one there is."""
        found = self.find(ref)
        if found is None:
            raise not_found(ref, self)
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
        return read_report(self.get(ref))

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
        """See `AdapterRegistry.add`. Nothing is left behind on a failure."""
        said = Publication(
            ref=ref,
            base_name=base_name,
            base_fingerprint=base_fingerprint,
            workflow=workflow,
            description=description,
            state=state,
            report=report,
            recipe=recipe,
            gate=gate,
            provenance=provenance,
        )
        with self._place() as temporary:
            staged = Path(temporary) / "adapter"
            manifest = stage(folder, said, staged)
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
                    raise other_content(ref) from None
        return self.get(ref)

    def _place(self) -> tempfile.TemporaryDirectory[str]:
        """A folder on the same disk, to be renamed from."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryDirectory(prefix=PUBLISHING, dir=self.root)
        except OSError as error:
            raise RegistryUnavailable(
                f"the registry {self.root} cannot be written: {error}; give this process's user "
                "leave to write there, or name another with --registry"
            ) from None

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
