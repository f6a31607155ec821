"""Whole objects below one URL, over any fsspec file system.

Every failure of a back end comes out as RegistryUnavailable with the URL and what to do; an object
that is not there as FileNotFoundError. Nothing is remembered: a listing is what is there now.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations

from gateway.errors import BadInput, RegistryUnavailable
from gateway.registry.location import shown

log = logging.getLogger(__name__)

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_STATES = ("size", "ETag", "etag", "generation", *_TIMES)
_FLAT = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss")
# A store that does not answer is away: its own patience is of minutes.
_S3: dict[str, Any] = {
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}
}
_OPTIONS = {"s3": _S3, "s3a": _S3}
_PACKAGES = {"s3fs": "s3fs", "gcsfs": "gcsfs", "adlfs": "adlfs"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One object. `state` changes when it does; `at` is when it was written, in seconds since the
    epoch by the store's clock, None where the store does not say."""

    path: str  # below the URL
    size: int
    state: tuple[str, ...]
    at: float | None


class ObjectStore:
    """The objects below `url`. Safe in any thread; all methods block."""

    def __init__(self, url: str) -> None:
        """Raises BadInput for a scheme that is not known or whose package is not installed."""
        self.url = shown(url)
        scheme = url.partition("://")[0]
        try:
            # A process reads what others write: listings are never remembered.
            self._fs, root = fsspec.core.url_to_fs(
                url, use_listings_cache=False, **_OPTIONS.get(scheme, {})
            )
        except ImportError as error:
            raise BadInput(
                f"registry {self.url}: {scheme}:// needs a package that is not installed "
                f"({error}); pip install {_package(scheme)}",
                param="registry",
            ) from None
        except Exception as error:  # of many kinds: each back end reads its own URLs and options
            raise BadInput(
                f"registry {self.url} cannot be used: {error}; write a folder, or a URL as "
                "s3://bucket/folder, gs://bucket/folder or file:///folder",
                param="registry",
            ) from None
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        self._flat = scheme in _FLAT

    def listing(self, prefix: str) -> list[Listed]:
        """Every object below `prefix`."""
        with self._told("listed"):
            try:
                found: dict[str, dict[str, Any]] = self._fs.find(
                    f"{self._root}/{prefix}", detail=True
                )
            except FileNotFoundError:
                found = {}
            if not found:
                self._require_bucket()
        start = len(self._root.lstrip("/")) + 1
        return [
            Listed(
                path.lstrip("/")[start:],
                int(info.get("size") or 0),
                tuple(str(info[key]) for key in _STATES if key in info),
                _time_of(info),
            )
            for path, info in sorted(found.items())
            if info.get("type") != "directory"
        ]

    def stat(self, path: str) -> Listed | None:
        """One object, or None."""
        with self._told(f"asked for {path}"):
            try:
                info = self._fs.info(f"{self._root}/{path}")
            except FileNotFoundError:
                return None
        state = tuple(str(info[key]) for key in _STATES if key in info)
        return Listed(path, int(info.get("size") or 0), state, _time_of(info))

    def read(self, path: str) -> bytes:
        """A small object whole. Raises FileNotFoundError."""
        with self._told(f"asked for {path}"):
            data: bytes = self._fs.cat_file(f"{self._root}/{path}")
            return data

    def fetch(self, path: str, target: Path) -> None:
        """An object into the file `target`. Raises FileNotFoundError, and OSError where this disk
        does not take it."""
        with self._told(f"asked for {path}", own_disk=True):
            self._fs.get_file(f"{self._root}/{path}", str(target))

    def put(self, source: Path, path: str) -> None:
        """The file `source` as an object, over what is there."""
        whole = f"{self._root}/{path}"
        with self._told(f"written ({path})"):
            if not self._local:
                self._make_parent(whole)
                self._fs.put_file(str(source), whole)
                return
            staged = self._staged(whole)
            self._fs.put_file(str(source), staged)
            os.replace(staged, whole)  # a copy that was cut short has no name

    def put_new(self, path: str, data: bytes) -> bool:
        """A small object that is not there yet; False where it is. Of several who try at once one
        succeeds, where the store can tell (object storage with conditional writes, a disk)."""
        whole = f"{self._root}/{path}"
        with self._told(f"written ({path})"):
            try:
                if self._local:
                    staged = self._staged(whole)
                    Path(staged).write_bytes(data)
                    try:
                        os.link(staged, whole)  # whole or not at all, and never over another
                    finally:
                        os.unlink(staged)
                else:
                    self._make_parent(whole)
                    self._fs.pipe_file(whole, data, mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, path: str) -> None:
        """Take an object away; one that is not there is away."""
        with self._told(f"written (removing {path})"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{path}")

    def _require_bucket(self) -> None:
        """Nothing in a bucket and no bucket look alike to a listing."""
        bucket = self._root.partition("/")[0]
        if not self._flat:
            return
        try:
            self._fs.info(bucket)
        except PermissionError:
            return  # one may be let into a part of a bucket alone
        except FileNotFoundError:
            raise OSError(f"there is no bucket {bucket}; make it, or name another") from None

    def _staged(self, whole: str) -> str:
        self._make_parent(whole)
        folder, _, name = whole.rpartition("/")
        return f"{folder}/.{name}.{uuid.uuid4().hex}"

    def _make_parent(self, whole: str) -> None:
        # Object storage has no folders, and would make a bucket of one.
        if not self._flat:
            self._fs.makedirs(whole.rpartition("/")[0], exist_ok=True)

    @contextlib.contextmanager
    def _told(self, what: str, *, own_disk: bool = False) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            if own_disk and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            raise self._away(what, error) from None
        except Exception as error:  # network, storage, credentials: as many kinds as back ends
            raise self._away(what, error) from None

    def _away(self, what: str, error: Exception) -> RegistryUnavailable:
        remedy = "see that it can be reached from here, and that its credentials are right"
        if isinstance(error, PermissionError):
            remedy = (
                "the credentials of this process do not allow it: give them leave, or set others "
                "in its environment"
            )
        said = str(error) or type(error).__name__
        return RegistryUnavailable(f"the registry {self.url} cannot be {what}: {said}; {remedy}")


def _package(scheme: str) -> str:
    known = known_implementations.get(scheme, {}).get("class", scheme)
    module = str(known).partition(".")[0]
    return _PACKAGES.get(module, f"the package of {module}")


def _time_of(info: dict[str, Any]) -> float | None:
    for key in _TIMES:
        said = info.get(key)
        if isinstance(said, datetime):
            return said.timestamp()
        if isinstance(said, int | float):
            return float(said)
        if isinstance(said, str):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(said).timestamp()
    return None
