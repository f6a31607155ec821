"""The adapters that an engine server answers by, each under the name that carries its digest.

A name is there from its load to its unload; where the adapter is meanwhile (device, host memory,
its folder) is the engine's to decide, and its files are checked against the digest whenever they
are read. Owned by the server's event loop.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.engine.base import Engine
from gateway.engine.upstream.naming import digest_of
from gateway.errors import AdapterRejected, BadInput, NotFound
from gateway.registry.content import WEIGHTS, check_files, read_config
from gateway.registry.manifest import parse_manifest
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing.table import AdapterRef

_MANIFEST = "manifest.json"


class Shelf:
    """Of one engine."""

    def __init__(self, engine: Engine, most: int) -> None:
        """`most` names at a time."""
        self._engine = engine
        self._most = most
        self._adapters: dict[str, AdapterArtifact] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What it answers by, the base apart."""
        return tuple(self._adapters)

    def find(self, name: str) -> AdapterArtifact:
        """The adapter of that name. Raises NotFound."""
        found = self._adapters.get(name)
        if found is None:
            raise NotFound(
                f"the model `{name}` does not exist here; load the adapter first", param="model"
            )
        return found

    async def load(self, name: str, folder: Path) -> None:
        """Have the engine hold the adapter in `folder`, and answer by it. Once more is no fault.
        Raises BadInput, AdapterRejected with the reason."""
        digest = digest_of(name)
        if digest is None:
            raise BadInput(
                f"{name!r} is no name of an adapter: it must be adapter- and its sha256 digest",
                param="lora_name",
            )
        if name not in self._adapters and len(self._adapters) >= self._most:
            raise BadInput(
                f"this server holds {self._most} adapters; unload one first", param="lora_name"
            )
        adapter = await asyncio.to_thread(self._described, digest, folder)
        await self._engine.make_resident(adapter)
        self._adapters[name] = adapter

    def unload(self, name: str) -> None:
        """Answer by it no more; what runs goes on to its end. Raises NotFound."""
        self.find(name)
        del self._adapters[name]

    def lost(self, name: str) -> None:
        """The engine could not have it again: its files are gone, or are others now."""
        self._adapters.pop(name, None)

    def _described(self, digest: str, folder: Path) -> AdapterArtifact:
        """The adapter in `folder`, which must be that of `digest`: the engine makes sure of it.
        Where a registry published it, its manifest says which base it was trained on; without one
        the gateway that asks has made sure. Raises AdapterRejected."""
        name = f"adapter {digest[:12]}"
        check_files(folder, name)
        ref, base, fingerprint = (
            AdapterRef("adapter", digest[:12]),
            "",
            self._engine.info.fingerprint,
        )
        if (folder / _MANIFEST).is_file():
            manifest = parse_manifest(folder / _MANIFEST, name)
            ref, base = manifest.ref, manifest.base.name
            fingerprint = manifest.base.fingerprint
        config = read_config(folder, name)
        rank, modules = config.get("r"), config.get("target_modules")
        if not isinstance(rank, int):
            raise AdapterRejected(f"{name}: its configuration states no rank r", adapter=str(ref))
        return AdapterArtifact(
            ref=ref,
            digest=digest,
            path=folder,
            base_name=base,
            base_fingerprint=fingerprint,
            rank=rank,
            target_modules=(modules,) if isinstance(modules, str) else tuple(modules or ()),
            size_bytes=(folder / WEIGHTS).stat().st_size,
            state=AdapterState.APPROVED,  # whoever may load here has decided that
        )
