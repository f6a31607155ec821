"""The adapters that one server holds: loaded when first needed, let go when there are too many,
and put right by what the server lists.

All of it runs on the engine's event loop, which alone writes these records. Other gateways may use
the same servers: what they load is taken over as it is listed, and what they take out is missed by
a request, and loaded again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from gateway.engine.upstream.faults import Fault, ServerFault
from gateway.engine.upstream.files import AdapterFiles
from gateway.engine.upstream.naming import digest_of, name_of
from gateway.engine.upstream.server import Server
from gateway.registry.values import AdapterArtifact

log = logging.getLogger(__name__)


class Holdings:
    """Of one server."""

    def __init__(self, server: Server, files: AdapterFiles, most: int) -> None:
        self._server = server
        self._files = files
        self._most = most
        self._held: OrderedDict[str, str] = OrderedDict()  # digest -> folder; least used first
        self._users: Counter[str] = Counter()  # running requests by digest
        self._loading: dict[str, asyncio.Task[str]] = {}
        self._unloading: dict[str, asyncio.Event] = {}  # set when it is gone
        self._pinned: frozenset[str] = frozenset()
        self._turns = 0  # changes made; a listing that one overlaps says nothing certain
        self.loads = self.load_failures = self.evictions = 0
        self.load_seconds = 0.0

    @property
    def digests(self) -> tuple[str, ...]:
        """What it holds."""
        return tuple(self._held)

    def __contains__(self, digest: str) -> bool:
        return digest in self._held

    def pin(self, digests: Collection[str]) -> None:
        """These are let go of only when nothing else can be."""
        self._pinned = frozenset(digests)

    @asynccontextmanager
    async def using(self, adapter: AdapterArtifact) -> AsyncIterator[str]:
        """Hold the adapter for one request; what the request calls it. Raises ServerFault:
        ADAPTER_REFUSED where the server will not load it."""
        self._users[adapter.digest] += 1  # first: so that it is not let go of meanwhile
        try:
            folder = await self.hold(adapter)
            by_folder = self._server.dialect.load is None
            yield folder if by_folder else name_of(adapter.digest)
        finally:
            self._users[adapter.digest] -= 1
            if not self._users[adapter.digest]:
                del self._users[adapter.digest]

    async def hold(self, adapter: AdapterArtifact) -> str:
        """Have the server hold it. One load at a time for all who ask. Raises ServerFault."""
        digest = adapter.digest
        if digest in self._held:
            self._held.move_to_end(digest)
            return self._held[digest]
        task = self._loading.get(digest)
        if task is None:
            task = asyncio.create_task(self._load(adapter), name=f"load {adapter.ref}")
            self._loading[digest] = task
            task.add_done_callback(lambda done: self._loaded(digest, done))
        # One who gives up waiting takes nothing from the others.
        return await asyncio.shield(task)

    def missing(self, digest: str) -> None:
        """A request found that the server does not have it."""
        self._turns += 1
        self._held.pop(digest, None)

    def forget(self) -> None:
        """The server is away, and may come back with nothing: what it holds is not known."""
        self._turns += 1
        self._held.clear()

    async def reconcile(self) -> None:
        """Believe what the server lists: it may have been started again, and others may have
        loaded to it. Raises ServerFault."""
        if self._server.dialect.models is None:
            return
        turns = self._turns
        # What has no parent is a base model, whatever it is called.
        names = [one.name for one in await self._server.listed() if one.parent is not None]
        if turns == self._turns and not self._loading and not self._unloading:
            self._believe(digest for name in names if (digest := digest_of(name)) is not None)

    async def close(self) -> None:
        """Give up the loads under way."""
        tasks = list(self._loading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _believe(self, listed: Iterable[str]) -> None:
        there = set(listed)
        for digest in [d for d in self._held if d not in there]:
            log.warning("%s no longer holds adapter %s", self._server.url, digest[:12])
            del self._held[digest]
        for digest in there - self._held.keys():
            self._held[digest] = ""
            self._held.move_to_end(digest, last=False)

    async def _load(self, adapter: AdapterArtifact) -> str:
        began = time.monotonic()
        if (gone := self._unloading.get(adapter.digest)) is not None:
            await gone.wait()  # else the unload would hit what is loaded now
        try:
            folder = await self._files.bring(adapter)
            await self._make_room()
            await self._server.load(name_of(adapter.digest), folder)
        except ServerFault:
            self.load_failures += 1
            raise
        self.loads += 1
        self.load_seconds += time.monotonic() - began
        self._held[adapter.digest] = folder
        return folder

    def _loaded(self, digest: str, done: asyncio.Task[str]) -> None:
        self._turns += 1
        del self._loading[digest]
        if not done.cancelled():
            done.exception()  # told to those who waited; with none left, to nobody

    async def _make_room(self) -> None:
        """Let go of the least used until there is room for one more. Raises ServerFault (FULL)
        where all are in use."""
        while len(self._held) + len(self._unloading) >= self._most:
            idle = [digest for digest in self._held if digest not in self._users]
            if not idle:
                raise ServerFault(
                    Fault.FULL, f"{self._server.url} holds {self._most} adapters, all in use"
                )
            victim = next((digest for digest in idle if digest not in self._pinned), idle[0])
            del self._held[victim]
            gone = self._unloading[victim] = asyncio.Event()
            try:
                await self._server.unload(name_of(victim))
                self.evictions += 1
            finally:
                self._turns += 1
                del self._unloading[victim]
                gone.set()
