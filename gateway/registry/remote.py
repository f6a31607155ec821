"""Adapters in object storage, by any fsspec URL: content-addressed, published whole, fetched when
they are needed.

    adapters/<name>/<version>.json   the entry: manifest, and each file's sha256 and size
    blobs/sha256/<digest>            the files

Files are written first, the entry last and only where there is none: a reader never sees half an
adapter, and of two publishers of one version the second is told. What is fetched is hashed, twice:
each file against the entry, and the adapter against its digest.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gateway.errors import AdapterRejected, RegistryUnavailable
from gateway.registry.base import not_found
from gateway.registry.cache import AdapterCache
from gateway.registry.catalogue import Catalogue
from gateway.registry.entry import (
    INDEX,
    Entry,
    StoredFile,
    entry_of,
    index_path,
    parse_entry,
    ref_of,
    sha256_of,
)
from gateway.registry.manifest import Manifest, Provenance
from gateway.registry.objects import Listed, ObjectStore
from gateway.registry.reading import artifact_of, read_report
from gateway.registry.staging import Publication, other_content, stage, write_manifest
from gateway.registry.values import NO_GATE, AdapterArtifact, AdapterState, GateResult
from gateway.routing.table import AdapterRef

_AT_ONCE = 16  # entries that are fetched at a time

_Known = Entry | str  # an entry, or why it cannot be read


class RemoteRegistry:
    """The registry below a URL, with copies on this disk. See `AdapterRegistry`."""

    def __init__(self, store: ObjectStore, cache: AdapterCache) -> None:
        self.where = store.url
        self._store = store
        self._cache = cache
        # As last seen. Entries never change: one is read again only where its object did.
        self._entries: dict[AdapterRef, tuple[tuple[str, ...], _Known]] = {}
        self._last: Catalogue | None = None

    def refs(self) -> list[AdapterRef]:
        """See `AdapterRegistry.refs`."""
        return sorted(ref for ref, _ in self._listed())

    def catalogue(self) -> Catalogue:
        """See `AdapterRegistry.catalogue`. While the store is away: what was last seen, or, from a
        start on, what is copied here."""
        try:
            listed = dict(self._listed())
            self._read(listed.items())
        except RegistryUnavailable as error:
            before = self._last or self._cache.copies.catalogue()
            return Catalogue(before.artifacts, before.damaged, error.message)
        artifacts: dict[AdapterRef, AdapterArtifact] = {}
        damaged: dict[AdapterRef, str] = {}
        for ref in sorted(listed):
            known = self._entries[ref][1]
            if isinstance(known, str):
                damaged[ref] = known
            else:
                artifacts[ref] = self._artifact(known)
        self._last = Catalogue(artifacts, damaged)
        return self._last

    def find(self, ref: AdapterRef) -> AdapterArtifact | None:
        """See `AdapterRegistry.find`. While the store is away: the copy, if it is here."""
        try:
            entry = self._entry(ref)
        except RegistryUnavailable:
            copy = self._copied(ref)
            if copy is None:
                raise
            return copy
        if entry is None:
            return None
        self._bring(entry)
        return self._artifact(entry)

    def get(self, ref: AdapterRef) -> AdapterArtifact:
        """See `AdapterRegistry.get`."""
        found = self.find(ref)
        if found is None:
            raise not_found(ref, self)
        return found

    def look_ahead(self, ref: AdapterRef) -> None:
        """See `AdapterRegistry.look_ahead`."""
        entry = self._entry(ref)
        if entry is None:
            return
        here = self._cache.whole(ref, entry.manifest.digest)
        if here is None and self._cache.room(entry.size):
            self._bring(entry)

    @contextlib.contextmanager
    def at_hand(self, artifact: AdapterArtifact) -> Iterator[None]:
        """See `AdapterRegistry.at_hand`."""

        def bring() -> None:
            ref, digest = artifact.ref, artifact.digest
            if self._cache.whole(ref, digest, again=True) is not None:
                return
            try:
                entry = self._entry(ref)
                if entry is None or entry.manifest.digest != digest:
                    raise AdapterRejected(
                        f"{ref} of digest {digest[:12]} is no longer in the registry {self.where}; "
                        "publish it again",
                        adapter=str(ref),
                    )
                self._bring(entry)
            except RegistryUnavailable as error:
                raise AdapterRejected(
                    f"{ref} is not on this disk and cannot be fetched: {error.message}",
                    adapter=str(ref),
                ) from None

        with self._cache.holding(artifact.ref, bring):
            yield

    def list(self) -> list[AdapterArtifact]:
        """See `AdapterRegistry.list`. Raises RegistryUnavailable where only copies are known."""
        found = self.catalogue()
        if found.away is not None and self._last is None:
            raise RegistryUnavailable(found.away)
        return [*found.artifacts.values()]

    def damaged(self) -> dict[AdapterRef, str]:
        """As of the last `catalogue`: status is asked for often, and the store is far."""
        return dict((self._last or self.catalogue()).damaged)

    def manifest(self, ref: AdapterRef) -> Manifest:
        """See `AdapterRegistry.manifest`."""
        entry = self._entry(ref)
        if entry is None:
            raise not_found(ref, self)
        return entry.manifest

    def verify(self, ref: AdapterRef) -> AdapterArtifact:
        """See `AdapterRegistry.verify`: fetches every file again, to the copy's place."""
        entry = self._entry(ref)
        if entry is None:
            raise not_found(ref, self)
        self._cache.put(ref, lambda folder: self._fetch(entry, folder))
        return self._artifact(entry)

    def report(self, ref: AdapterRef) -> dict[str, Any] | None:
        """See `AdapterRegistry.report`."""
        with self.at_hand(artifact := self.get(ref)):
            return read_report(artifact)

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
        """See `AdapterRegistry.add`. Files that were written before a failure are garbage."""
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
        with tempfile.TemporaryDirectory(prefix="publishing-") as temporary:
            staged = Path(temporary) / "adapter"
            manifest = stage(folder, said, staged)
            if (known := self._entry(ref)) is not None and known.manifest.digest != manifest.digest:
                raise other_content(ref)
            if known is None:
                self._publish(entry_of(staged, manifest), staged)
        return self.get(ref)

    def _publish(self, entry: Entry, staged: Path) -> None:
        ref = entry.manifest.ref
        # Always written, also where they are there: garbage that is written anew is none.
        for name, file in entry.files.items():
            self._store.put(staged / name, file.blob)
        data = entry.model_dump_json(indent=2).encode() + b"\n"
        if not self._store.put_new(index_path(ref), data):
            first = self._entry(ref)
            if first is None or first.manifest.digest != entry.manifest.digest:
                raise other_content(ref)
            return
        for name, file in entry.files.items():  # a collection may have run meanwhile
            if self._store.stat(file.blob) is None:
                self._store.put(staged / name, file.blob)

    def _listed(self) -> Iterator[tuple[AdapterRef, Listed]]:
        for listed in self._store.listing(INDEX):
            if (ref := ref_of(listed.path)) is not None:
                yield ref, listed

    def _read(self, listed: Iterable[tuple[AdapterRef, Listed]]) -> None:
        """Read the entries that are new or changed. Raises RegistryUnavailable."""
        new = [
            (ref, each)
            for ref, each in listed
            if ref not in self._entries or self._entries[ref][0] != each.state
        ]
        if not new:
            return
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="registry") as pool:
            found = pool.map(lambda pair: self._parsed(pair[0]), new)
            for (ref, each), known in zip(new, found, strict=True):
                self._entries[ref] = (each.state, known)

    def _parsed(self, ref: AdapterRef) -> _Known:
        path = index_path(ref)
        try:
            return parse_entry(self._store.read(path), ref, f"{self.where}/{path}")
        except FileNotFoundError:
            return f"{ref}: was taken out of the registry {self.where} while it was listed"
        except AdapterRejected as error:
            return error.message

    def _entry(self, ref: AdapterRef) -> Entry | None:
        """As it is now. Raises AdapterRejected, RegistryUnavailable."""
        path = index_path(ref)
        try:
            data = self._store.read(path)
        except FileNotFoundError:
            return None
        return parse_entry(data, ref, f"{self.where}/{path}")

    def _copied(self, ref: AdapterRef) -> AdapterArtifact | None:
        known = self._entries.get(ref)
        if known is None:
            with contextlib.suppress(AdapterRejected):
                return self._cache.copies.find(ref)
            return None
        return (
            None if isinstance(known[1], str) else self._cache.whole(ref, known[1].manifest.digest)
        )

    def _artifact(self, entry: Entry) -> AdapterArtifact:
        return artifact_of(entry.manifest, self._cache.folder(entry.manifest.ref))

    def _bring(self, entry: Entry) -> None:
        """Have a whole copy here. Raises AdapterRejected, RegistryUnavailable."""
        ref, digest = entry.manifest.ref, entry.manifest.digest
        if self._cache.whole(ref, digest) is not None:
            return
        self._cache.put(ref, lambda folder: self._fetch(entry, folder))
        if self._cache.whole(ref, digest) is None:
            raise AdapterRejected(
                f"{ref}: its files in {self.where} are not those that the entry was written for "
                f"(digest {digest[:12]}); publish it again as a new version",
                adapter=str(ref),
            )

    def _fetch(self, entry: Entry, folder: Path) -> None:
        ref = entry.manifest.ref
        for name, file in entry.files.items():
            self._fetch_file(ref, name, file, folder / name)
        write_manifest(folder, entry.manifest)

    def _fetch_file(self, ref: AdapterRef, name: str, file: StoredFile, target: Path) -> None:
        where = f"{self.where}/{file.blob}"
        try:
            self._store.fetch(file.blob, target)
        except FileNotFoundError:
            raise AdapterRejected(
                f"{ref}: {name} is missing ({where}); put the object back, or publish the adapter "
                "as a new version",
                adapter=str(ref),
            ) from None
        found = sha256_of(target)
        if found != file.sha256:
            raise AdapterRejected(
                f"{ref}: {name} is not what was published ({where} holds {target.stat().st_size} "
                f"bytes of sha256 {found[:12]}, {file.size} of {file.sha256[:12]} were written); "
                "put the object back, or publish the adapter as a new version",
                adapter=str(ref),
            )
