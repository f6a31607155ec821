"""How a server comes by an adapter's files: from a folder that it shares with the registry, or by
a fetcher beside it, which gets them from a gateway and checks the digest (`gateway fetcher`)."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath

from gateway.engine.upstream.faults import Fault, ServerFault
from gateway.engine.upstream.server import Server
from gateway.errors import AdapterRejected
from gateway.registry.base import AtHand, here
from gateway.registry.values import AdapterArtifact


def shared_path(folder: Path, root: str) -> str:
    """Where a server finds the adapter in `folder`, which is REGISTRY/<name>/<version> here. `root`
    is the registry's folder as the server sees it; empty where it is the same."""
    if not root:
        return str(folder.resolve())
    return str(PurePosixPath(root, *folder.parts[-2:]))


class AdapterFiles:
    """Of one server."""

    def __init__(self, server: Server, *, root: str, fetcher: str, at_hand: AtHand = here) -> None:
        self._server = server
        self._root = root
        self._fetcher = fetcher
        self._at_hand = at_hand

    async def bring(self, adapter: AdapterArtifact) -> str:
        """Make sure that the server can read the adapter; the folder to tell it. Raises
        ServerFault."""
        if self._fetcher:
            return await self._server.fetch_at(self._fetcher, adapter.digest)
        try:
            await asyncio.to_thread(self._have, adapter)
        except AdapterRejected as error:
            raise ServerFault(Fault.ADAPTER_REFUSED, error.message) from None
        return shared_path(adapter.path, self._root)

    def _have(self, adapter: AdapterArtifact) -> None:
        # It stays: what servers read is never taken out of a cache (`Settings.cache_bound`).
        with self._at_hand(adapter):
            pass
