"""A registry's location to the registry that is there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gateway.errors import BadInput
from gateway.model.source import default_cache
from gateway.registry.base import AdapterRegistry
from gateway.registry.cache import AdapterCache
from gateway.registry.garbage import Collectable
from gateway.registry.location import is_url
from gateway.registry.objects import ObjectStore
from gateway.registry.remote import RemoteRegistry
from gateway.registry.remote_garbage import ObjectGarbage
from gateway.registry.store import Registry
from gateway.registry.store_garbage import FolderGarbage


def open_registry(
    location: str | Path, *, cache: Path | None = None, cache_bytes: int | None = None
) -> AdapterRegistry:
    """The registry at a folder or an fsspec URL. `cache` is where copies of what a URL holds lie
    (default: below the user's cache), at most `cache_bytes` of them that nobody uses (None: no
    bound). Nothing is asked of it yet. Raises BadInput."""
    text = str(location)
    if not text.strip():
        raise BadInput("registry: is empty; write a folder or a URL", param="registry")
    if not is_url(text):
        return Registry(Path(text))
    store = ObjectStore(text)
    # Several registries share one cache folder, each in a folder of its own.
    own = hashlib.sha256(store.url.rstrip("/").encode()).hexdigest()[:16]
    folder = (cache or default_cache() / "adapters") / own
    return RemoteRegistry(store, AdapterCache(folder, cache_bytes))


def open_garbage(location: str) -> Collectable:
    """The same registry, for its collection. Raises BadInput, also for a folder that is away."""
    if is_url(location):
        return ObjectGarbage(ObjectStore(location))
    if not Path(location).is_dir():
        raise BadInput(f"registry: there is no folder {location}", param="registry")
    return FolderGarbage(Registry(Path(location)))
