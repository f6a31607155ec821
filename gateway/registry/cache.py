"""Copies of adapters on this disk, for a registry that is elsewhere.

An ordinary registry's folder, shared by the processes of one machine. A copy that is in use is held
by a lock on its folder, which the system lets go of when its process dies; the others go when there
are too many, least recently used first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.errors import AdapterRejected, RegistryUnavailable
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from gateway.routing.table import AdapterRef

_PULLING, _GONE = ".pulling-", ".gone-"
_LEFT_OVER_S = 3600.0  # a folder of these that is older belonged to a process that died
_TRIES = 3  # where another process takes the copy away again


class AdapterCache:
    """Under `root`. `most_bytes` None: no bound. Safe in any thread and among processes."""

    def __init__(self, root: Path, most_bytes: int | None) -> None:
        self.root = root
        self._most = most_bytes
        self.copies = Registry(root)

    def folder(self, ref: AdapterRef) -> Path:
        """Where the copy of `ref` lies, if there is one."""
        return self.root / ref.name / ref.version

    def whole(self, ref: AdapterRef, digest: str, *, again: bool = False) -> AdapterArtifact | None:
        """The copy with its bytes hashed (`again`: whatever their times say), or None where there
        is none or it is damaged."""
        try:
            found = self.copies.verify(ref) if again and self._there(ref) else self.copies.find(ref)
        except AdapterRejected:
            return None
        return found if found is not None and found.digest == digest else None

    def room(self, size: int) -> bool:
        """Whether so many bytes more can be held without letting anything go."""
        return self._most is None or size + sum(s for _, s, _ in self._held()) <= self._most

    def put(self, ref: AdapterRef, fill: Callable[[Path], None]) -> None:
        """Have `fill` make the copy of `ref` in a folder, and put that in place, over a copy that
        was damaged or other. Raises RegistryUnavailable where the disk does not take it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_PULLING, dir=self.root) as temporary:
                staged = Path(temporary) / "adapter"
                staged.mkdir()
                fill(staged)
                target = self.folder(ref)
                target.parent.mkdir(exist_ok=True)
                self._take_away(target)
                with contextlib.suppress(OSError):  # another process was as fast, with the same
                    staged.rename(target)
        except OSError as error:
            raise RegistryUnavailable(
                f"{ref} cannot be copied to the cache {self.root}: {error}; make room there, or "
                "name another folder with registry_cache"
            ) from None
        self._let_go(ref)

    @contextlib.contextmanager
    def holding(self, ref: AdapterRef, bring: Callable[[], None]) -> Iterator[None]:
        """Keep the copy of `ref` while the block runs. `bring` makes sure that there is a whole
        one."""
        for _ in range(_TRIES):
            bring()
            handle = _locked(self.folder(ref), fcntl.LOCK_SH)
            if handle is None:
                continue  # it was taken away in between
            try:
                with contextlib.suppress(OSError):
                    os.utime(self.folder(ref))
                yield
            finally:
                os.close(handle)
            return
        raise AdapterRejected(
            f"{ref} is taken out of the cache {self.root} as fast as it comes; give it more room "
            "(registry_cache_bytes)",
            adapter=str(ref),
        )

    def _there(self, ref: AdapterRef) -> bool:
        return self.folder(ref).is_dir()

    def _held(self) -> list[tuple[float, int, Path]]:
        """Every copy: when it was last used, its bytes, its folder."""
        found = []
        for ref in self.copies.refs():
            folder = self.folder(ref)
            with contextlib.suppress(OSError), os.scandir(folder) as files:
                size = sum(file.stat().st_size for file in files)
                found.append((folder.stat().st_mtime, size, folder))
        return sorted(found)

    def _let_go(self, keep: AdapterRef) -> None:
        """Remove what is over the bound, and what processes that died have left."""
        for pattern in (f"{_PULLING}*", f"{_GONE}*"):
            for folder in self.root.glob(pattern):
                with contextlib.suppress(OSError):
                    if time.time() - folder.stat().st_mtime > _LEFT_OVER_S:
                        shutil.rmtree(folder, ignore_errors=True)
        if self._most is None:
            return
        held = self._held()
        over = sum(size for _, size, _ in held) - self._most
        for _, size, folder in held:
            if over <= 0:
                return
            if folder != self.folder(keep) and self._take_away(folder):
                over -= size

    def _take_away(self, folder: Path) -> bool:
        """Remove a copy, unless it is in use."""
        handle = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if handle is None:
            return False
        try:
            gone = self.root / f"{_GONE}{uuid.uuid4().hex}"
            folder.rename(gone)
        except OSError:
            return False
        finally:
            os.close(handle)
        shutil.rmtree(gone, ignore_errors=True)
        return True


def _locked(folder: Path, how: int) -> int | None:
    """An open, locked handle of what is `folder` now; None where it is away, or not to be had."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, how)
        now, there = os.fstat(handle), os.stat(folder)
        if (now.st_dev, now.st_ino) == (there.st_dev, there.st_ino):
            return handle
    except OSError:
        pass
    os.close(handle)
    return None
