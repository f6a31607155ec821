"""The collection of a registry in object storage: entries first, then the files that none names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from gateway.errors import AdapterRejected, RegistryUnavailable
from gateway.registry.entry import BLOBS, COLLECTED, INDEX, Entry, index_path, parse_entry, ref_of
from gateway.registry.garbage import Leftover, Published
from gateway.registry.objects import Listed, ObjectStore
from gateway.registry.published_at import published_at
from gateway.routing.table import AdapterRef

_AT_ONCE = 16  # entries that are read at a time


class ObjectGarbage:
    """See `Collectable`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._read: dict[tuple[str, tuple[str, ...]], Entry | None] = {}  # entries, as they were

    def published(self) -> list[Published]:
        """See `Collectable.published`."""
        found = []
        for listed, ref, entry in self._entries(INDEX):
            digest = None if entry is None else entry.manifest.digest
            created = "" if entry is None else entry.manifest.created_at
            size = listed.size + (0 if entry is None else entry.size)
            found.append(Published(ref, digest, published_at(created, listed.at), size))
        return found

    def hide(self, ref: AdapterRef, at: float) -> None:
        """See `Collectable.hide`. The entry is elsewhere before it is gone."""
        with contextlib.suppress(FileNotFoundError):
            data = self._store.read(index_path(ref))
            if not self._store.put_new(index_path(ref, COLLECTED), data):
                self._store.remove(index_path(ref, COLLECTED))
                self._store.put_new(index_path(ref, COLLECTED), data)
            self._store.remove(index_path(ref))

    def hidden(self) -> list[tuple[AdapterRef, float]]:
        """See `Collectable.hidden`."""
        return [
            (ref, listed.at or 0.0)
            for listed in self._store.listing(COLLECTED)
            if (ref := ref_of(listed.path, COLLECTED)) is not None
        ]

    def restore(self, ref: AdapterRef) -> None:
        """See `Collectable.restore`."""
        with contextlib.suppress(FileNotFoundError):
            self._store.put_new(index_path(ref), self._store.read(index_path(ref, COLLECTED)))
            self._store.remove(index_path(ref, COLLECTED))

    def destroy(self, ref: AdapterRef) -> None:
        """See `Collectable.destroy`. Its files are left over then."""
        self._store.remove(index_path(ref, COLLECTED))

    def leftovers(self, before: float) -> list[Leftover]:
        """See `Collectable.leftovers`: files that no entry names. None while an entry cannot be
        read: what it names is not known."""
        named = self._named()
        if named is None:
            return []
        return [
            Leftover(blob.path, blob.size)
            for blob in self._store.listing(BLOBS)
            if blob.path not in named and blob.at is not None and blob.at < before
        ]

    def sweep(self, leftovers: Iterable[Leftover], before: float) -> None:
        """See `Collectable.sweep`. A publication writes its files anew, which makes them young,
        and looks after its entry is there whether they are."""
        named = self._named()
        if named is None:
            return
        for each in leftovers:
            now = self._store.stat(each.what)
            old = now is not None and now.at is not None and now.at < before
            if old and each.what not in named:
                self._store.remove(each.what)

    def _named(self) -> set[str] | None:
        """The objects that entries name, hidden ones too; None where one cannot be read."""
        found: set[str] = set()
        for folder in (INDEX, COLLECTED):
            for _, _, entry in self._entries(folder):
                if entry is None:
                    return None
                found |= {file.blob for file in entry.files.values()}
        return found

    def _entries(self, folder: str) -> list[tuple[Listed, AdapterRef, Entry | None]]:
        """The entries below `folder`; None for one that cannot be read."""
        found = [
            (listed, ref)
            for listed in self._store.listing(folder)
            if (ref := ref_of(listed.path, folder)) is not None
        ]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="registry") as pool:
            entries = pool.map(lambda pair: self._entry(*pair), found)
            return [(*pair, entry) for pair, entry in zip(found, entries, strict=True)]

    def _entry(self, listed: Listed, ref: AdapterRef) -> Entry | None:
        key = (listed.path, listed.state)
        if key not in self._read:
            try:
                data = self._store.read(listed.path)
                self._read[key] = parse_entry(data, ref, listed.path)
            except AdapterRejected:
                self._read[key] = None
            except FileNotFoundError:
                raise RegistryUnavailable(
                    f"{self._store.url}/{listed.path} went away while it was read; another "
                    "collection runs: try again when it has ended"
                ) from None
        return self._read[key]
