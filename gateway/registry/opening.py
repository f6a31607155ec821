"""A registry's location to the registry that is there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gateway.errors import BadInput
from gateway.model.source import default_cache
from gateway.registry.base import AdapterRegistry
from gateway.registry.cache import AdapterCache
from gateway.registry.location import is_url
from gateway.registry.objects import ObjectStore
from gateway.registry.remote import RemoteRegistry
from gateway.registry.store import Registry


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
