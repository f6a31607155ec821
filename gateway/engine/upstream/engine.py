"""The upstream engine: `Engine` over vLLM-compatible servers.

It lives on the event loop that first asks something of it; what blocks (tokenizer, disk) does so in
the caller's thread. The servers run the model; this decides which of them, and what it may cost.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.engine.base import Delta, EngineInfo, EngineStats, FinishReason, GenerationRequest
from gateway.engine.grammar import Grammars
from gateway.engine.requests import check_request
from gateway.engine.stream import DeltaStream
from gateway.engine.text import HuggingFaceText
from gateway.engine.upstream.adapter_check import check_adapter
from gateway.engine.upstream.breaker import Breaker
from gateway.engine.upstream.dialect import DIALECTS
from gateway.engine.upstream.dispatch import Dispatcher
from gateway.engine.upstream.files import AdapterFiles
from gateway.engine.upstream.first_look import Found, examine, look
from gateway.engine.upstream.fleet import Fleet
from gateway.engine.upstream.health import HealthWatch
from gateway.engine.upstream.holdings import Holdings
from gateway.engine.upstream.options import UpstreamOptions
from gateway.engine.upstream.replica import Replica
from gateway.engine.upstream.server import Server
from gateway.engine.upstream.tries import Tries
from gateway.errors import BadInput, EngineFault, QueueFull
from gateway.registry.base import AtHand, here
from gateway.registry.values import AdapterArtifact


class UpstreamEngine:
    """One base model and many adapters on other machines. See `gateway.engine.base.Engine`."""

    def __init__(
        self,
        model_path: Path,
        *,
        name: str,
        fingerprint: str,
        options: UpstreamOptions,
        tries: Tries | None = None,
        at_hand: AtHand = here,
    ) -> None:
        """Read tokenizer and chat template of the base at `model_path`; its weights are not read.
        `at_hand` brings an adapter's files here. Raises BadInput."""
        self._options = options
        self._at_hand = at_hand
        self._tries = tries
        self._trust = _trust(options.authority)
        self._dialect = DIALECTS[options.dialect]
        self._text = HuggingFaceText(model_path)
        vocab_size = len(self._text.tokenizer)
        self._grammars = Grammars(self._text.tokenizer, vocab_size)
        self._fleet = Fleet(
            [self._replica(address.url, address.fetcher) for address in options.servers],
            options.affinity,
            options.copies,
        )
        self._dispatcher = Dispatcher(
            self._fleet,
            self._dialect,
            self._text,
            options.timeouts,
            options.retry_share,
            tries=tries,
        )
        self._dispatcher.model = options.model
        self._known: dict[str, AdapterArtifact] = {}  # every adapter that was ever made resident
        self._pinned: frozenset[str] = frozenset()
        self._info = EngineInfo(
            kind="upstream",
            model=name,
            fingerprint=fingerprint,
            architecture=self._text.architecture,
            device=f"{len(options.servers)} server{'s' if len(options.servers) > 1 else ''}",
            dtype="",
            vocab_size=vocab_size,
            max_len=options.max_len,
            max_rows=options.requests,
            max_queue=options.requests * len(options.servers),
            slots=options.adapters,
            max_rank=options.max_rank,
        )
        self._loop: asyncio.AbstractEventLoop | None = None  # it lives there
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._accepting = False

    # The Engine protocol.

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def text(self) -> HuggingFaceText:
        return self._text

    def start(self) -> None:
        """Ask the servers what they serve. Not on an event loop. Raises BadInput where they serve
        another model; that none answers is no reason not to start."""
        found = asyncio.run(self._first_look())
        for replica in self._fleet.replicas:
            replica.well = replica.name in found  # the others, once they answer
        for one in found.values():
            self._dispatcher.model = one.model
            if one.max_len is not None and one.max_len < self._info.max_len:
                self._info = replace(self._info, max_len=one.max_len)
        self._accepting = True

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """See `Engine.generate`."""
        check_request(request, self._info)
        self._dialect.check(request)
        if request.sampling.json_schema is not None:
            self.check_schema(request.sampling.json_schema)
        if not self._accepting:
            raise EngineFault("the engine is stopping and takes no new requests")
        loop = self._attend()
        self._require_room(request)
        task: asyncio.Task[None] | None = None

        def cancel() -> None:
            if task is not None and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

        stream = DeltaStream(request.n, cancel)
        if request.sampling.max_tokens == 0 and request.sampling.prompt_logprobs is None:
            for index in range(request.n):  # nothing is asked for, and servers refuse that
                stream.deliver(Delta(index, "", (), finish=FinishReason.LENGTH))
            return stream
        task = self._dispatcher.start(request, stream, loop)
        tasks = self._background if request.background else self._running
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return stream

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """See `Engine.check_schema`. The servers compile it with a library of their own; what they
        refuse in spite of this ends the request with BadInput."""
        self._grammars.compile(schema)

    def check_adapter(self, adapter: AdapterArtifact) -> None:
        """See `Engine.check_adapter`."""
        with self._at_hand(adapter):
            check_adapter(
                adapter, base_fingerprint=self._info.fingerprint, max_rank=self._options.max_rank
            )

    async def make_resident(self, adapter: AdapterArtifact) -> None:
        """See `Engine.make_resident`. Loaded to as many servers as the options say; it stays known,
        and is loaded again to a server that was started again while it is pinned."""
        self._attend()
        await asyncio.to_thread(self.check_adapter, adapter)
        self._known[adapter.digest] = adapter
        await self._fleet.hold(adapter)

    def set_pinned(self, digests: Collection[str]) -> None:
        """See `Engine.set_pinned`."""
        self._attend()
        self._pinned = frozenset(digests)
        for replica in self._fleet.replicas:
            replica.holdings.pin(self._pinned)

    def stats(self) -> EngineStats:
        """See `Engine.stats`."""
        now = time.monotonic()
        replicas, dispatcher = self._fleet.replicas, self._dispatcher
        holdings = [one.holdings for one in replicas]
        return EngineStats(
            running_rows=dispatcher.running,
            queue_depth=dispatcher.waiting,
            kv_tokens_used=0,  # theirs to tell
            kv_tokens_total=0,
            resident_adapters=tuple(sorted({d for held in holdings for d in held.digests})),
            pinned_adapters=tuple(sorted(self._pinned)),
            adapter_loads=sum(held.loads for held in holdings),
            adapter_load_failures=sum(held.load_failures for held in holdings),
            adapter_evictions=sum(held.evictions for held in holdings),
            adapter_load_seconds=sum(held.load_seconds for held in holdings),
            weights_bytes=0,
            slots_bytes=0,
            kv_bytes=0,
            steps=dispatcher.requests,
            tokens_generated=dispatcher.tokens_generated,
            healthy=any(one.in_service(now) for one in replicas),
            background_rows=sum(work.background for one in replicas for work in one.works),
            background_queue_depth=len(self._background),
            background_preemptions=dispatcher.preemptions,
            servers=tuple(one.reading(now) for one in replicas),
            retries=dispatcher.retries,
        )

    async def close(self, grace_s: float = 0.0) -> None:
        """See `Engine.close`."""
        self._accepting = False
        for task in list(self._background):  # nobody waits for it: it ends now
            task.cancel()
        if self._running and grace_s > 0:
            await asyncio.wait(self._running, timeout=grace_s)
        tasks = [*self._running, *self._background, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        for replica in self._fleet.replicas:
            await replica.holdings.close()
            await replica.server.close()

    # Its own.

    def _require_room(self, request: GenerationRequest) -> None:
        """Raises QueueFull at a bound."""
        options, now = self._options, time.monotonic()
        if request.background:
            if len(self._background) >= options.background_queue:
                raise QueueFull(
                    f"{len(self._background)} background requests are waiting, the queue holds "
                    f"{options.background_queue}; try again later",
                    retry_after_s=1.0,
                )
            return
        usable = [one for one in self._fleet.replicas if one.usable(now)]
        if usable and not any(one.has_room(request.n) for one in usable):
            raise QueueFull(
                f"every server has as many requests as it may ({options.requests}); try later",
                retry_after_s=1.0,
            )

    def _replica(self, url: str, fetcher: str) -> Replica:
        options = self._options
        server = self._server(url)
        files = AdapterFiles(
            server, root=options.adapter_root, fetcher=fetcher, at_hand=self._at_hand
        )
        holdings = Holdings(server, files, options.adapters)
        return Replica(server, holdings, options.requests, Breaker(options.breaker))

    def _server(self, url: str) -> Server:
        return Server(
            url,
            self._dialect,
            key=self._options.key,
            trust=self._trust,
            timeouts=self._options.timeouts,
            connections=self._options.requests,
            tries=self._tries,
        )

    async def _first_look(self) -> dict[str, Found]:
        # With connections of its own: the others belong to the loop that the engine will live on.
        servers = [self._server(address.url) for address in self._options.servers]
        try:
            return await look(servers, self._options.model, self._text, self._info.fingerprint)
        finally:
            await asyncio.gather(*(server.close() for server in servers))

    def _attend(self) -> asyncio.AbstractEventLoop:
        """Make the running loop the engine's, and begin to watch the servers."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._tasks = [
                loop.create_task(
                    HealthWatch(
                        one,
                        self._options.timeouts,
                        self._options.failed_checks,
                        self._wanted,
                        self._examine,
                    ).run(),
                    name=f"watch {one.name}",
                )
                for one in self._fleet.replicas
            ]
        elif self._loop is not loop:
            raise RuntimeError("the upstream engine lives on one event loop, and this is another")
        return loop

    async def _examine(self, server: Server) -> None:
        """Make sure that a server runs the base that the others do. Raises BadInput,
        ServerFault."""
        found = await examine(server, self._dispatcher.model, self._text, self._info.fingerprint)
        self._dispatcher.model = found.model

    def _wanted(self, replica: Replica) -> list[AdapterArtifact]:
        """The pinned adapters that this server is a home of."""
        return [
            self._known[digest]
            for digest in sorted(self._pinned & self._known.keys())
            if replica in self._fleet.homes(digest)
        ]


def _trust(authority: Path | None) -> ssl.SSLContext | bool:
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(authority))
    except OSError as error:
        raise BadInput(
            f"server_ca {authority} cannot be read: {error}", param="server_ca"
        ) from None
