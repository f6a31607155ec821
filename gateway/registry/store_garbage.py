"""The collection of a registry that is a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.errors import AdapterRejected, BadInput, RegistryUnavailable
from gateway.registry.garbage import Leftover, Published
from gateway.registry.manifest import MANIFEST
from gateway.registry.published_at import published_at
from gateway.registry.reading import glance
from gateway.registry.store import PUBLISHING, Registry
from gateway.routing.table import AdapterRef

_HIDDEN = ".collected"


class FolderGarbage:
    """See `Collectable`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._root = registry.root

    def published(self) -> list[Published]:
        """See `Collectable.published`."""
        found = []
        for ref in self._registry.refs():
            folder = self._folder(ref)
            digest, created = None, ""
            with contextlib.suppress(AdapterRejected):
                artifact = glance(ref, folder)
                digest, created = artifact.digest, artifact.created_at
            stored = None
            with contextlib.suppress(OSError):
                stored = (folder / MANIFEST).stat().st_mtime
            found.append(Published(ref, digest, published_at(created, stored), _size(folder)))
        return found

    def hide(self, ref: AdapterRef, at: float) -> None:
        """See `Collectable.hide`. One rename."""
        with self._writing():
            hidden = self._hidden(ref)
            hidden.parent.mkdir(exist_ok=True)
            os.utime(self._folder(ref), (at, at))
            self._folder(ref).rename(hidden)

    def hidden(self) -> list[tuple[AdapterRef, float]]:
        """See `Collectable.hidden`."""
        found = []
        for folder in (self._root / _HIDDEN).glob("*"):
            with contextlib.suppress(BadInput, OSError):
                found.append((AdapterRef.parse(folder.name), folder.stat().st_mtime))
        return sorted(found)

    def restore(self, ref: AdapterRef) -> None:
        """See `Collectable.restore`."""
        hidden = self._hidden(ref)
        if not hidden.is_dir():
            return
        with self._writing():
            self._folder(ref).parent.mkdir(exist_ok=True)
            if not self._folder(ref).exists():
                hidden.rename(self._folder(ref))

    def destroy(self, ref: AdapterRef) -> None:
        """See `Collectable.destroy`."""
        with self._writing():
            shutil.rmtree(self._hidden(ref))
        with contextlib.suppress(OSError):  # other versions are there
            self._folder(ref).parent.rmdir()

    def leftovers(self, before: float) -> list[Leftover]:
        """See `Collectable.leftovers`: adapters that were being published."""
        return [
            Leftover(str(folder), sum(_size(each) for each in (folder, *folder.glob("*/"))))
            for folder in sorted(self._root.glob(f"{PUBLISHING}*"))
            if _older(folder, before)
        ]

    def sweep(self, leftovers: Iterable[Leftover], before: float) -> None:
        """See `Collectable.sweep`."""
        with self._writing():
            for each in leftovers:
                if _older(Path(each.what), before):
                    shutil.rmtree(each.what)

    def _folder(self, ref: AdapterRef) -> Path:
        return self._root / ref.name / ref.version

    def _hidden(self, ref: AdapterRef) -> Path:
        return self._root / _HIDDEN / str(ref)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RegistryUnavailable(
                f"the registry {self._root} cannot be written: {error}; run the collection as the "
                "user that owns it"
            ) from None


def _older(folder: Path, before: float) -> bool:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime < before
    return False


def _size(folder: Path) -> int:
    size = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                size += entry.stat(follow_symlinks=False).st_size
    return size
