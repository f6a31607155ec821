"""The servers together: which one a request goes to, and which hold an adapter beforehand.

Owned by the engine's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Sequence

from gateway.engine.base import GenerationRequest
from gateway.engine.upstream.choice import Affinity, Candidate, choose, key_of, ranked
from gateway.engine.upstream.faults import Fault, ServerFault
from gateway.engine.upstream.replica import Replica
from gateway.errors import AdapterRejected, EngineUnavailable
from gateway.registry.values import AdapterArtifact

_LOOK_AGAIN_S = 1.0


class Fleet:
    """All replicas of one base model."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        affinity: Affinity,
        copies: int,
        *,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.replicas = tuple(replicas)
        self._freed = asyncio.Event()
        for one in self.replicas:
            one.freed = self._freed
        self._affinity = affinity
        self._copies = copies
        self._now = now
        self._chance = chance

    def pick(self, request: GenerationRequest, tried: Collection[Replica]) -> Replica:
        """The server for `request`, none of those `tried`. Raises ServerFault: FULL where all
        that can be asked are, UNREACHABLE where none can be."""
        now = self._now()
        usable = [one for one in self.replicas if one.usable(now) and one not in tried]
        if not usable:
            raise ServerFault(Fault.UNREACHABLE, "no server can be asked at present")
        roomy = {one.name: one for one in usable if one.has_room(request.n)}
        if not roomy:
            raise ServerFault(Fault.FULL, "every server has as many requests as it may")
        digest = None if request.adapter is None else request.adapter.digest
        candidates = [
            Candidate(one.name, one.load, digest is None or digest in one.holdings)
            for one in roomy.values()
        ]
        name = choose(
            candidates,
            key_of(request.prompt, digest, self._affinity),
            len(request.prompt) + request.n * request.sampling.max_tokens,
            (self._chance(), self._chance()),
            self._affinity,
        )
        assert name is not None
        return roomy[name]

    async def idle(self) -> Replica:
        """A server that may be asked and has nothing of this gateway's, once there is one."""
        while True:
            now = self._now()
            for one in self.replicas:
                if one.idle and one.usable(now):
                    return one
            self._freed.clear()
            # A pause that ends tells nobody: it is looked again.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await self._freed.wait()

    def homes(self, digest: str) -> list[Replica]:
        """The servers that are to hold an adapter before it is asked for: of those that can be
        asked, the first by its preference."""
        now = self._now()
        by_name = {one.name: one for one in self.replicas if one.in_service(now)}
        order = [by_name[name] for name in ranked(by_name, digest.encode()[:64])]
        return order[: self._copies or len(order)]

    async def hold(self, adapter: AdapterArtifact) -> None:
        """Load it to its homes. Enough that one of them has it. Raises AdapterRejected where all
        that answered refuse it, EngineUnavailable where none answered."""
        homes = self.homes(adapter.digest)
        outcomes = await asyncio.gather(
            *(one.holdings.hold(adapter) for one in homes), return_exceptions=True
        )
        faults = []
        for replica, outcome in zip(homes, outcomes, strict=True):
            if isinstance(outcome, ServerFault):
                faults.append(outcome)
                if outcome.fault is not Fault.ADAPTER_REFUSED:
                    replica.failed(outcome.fault, self._now())
            elif isinstance(outcome, BaseException):
                raise outcome
        if homes and len(faults) < len(homes):
            return
        refused = next((one for one in faults if one.fault is Fault.ADAPTER_REFUSED), None)
        if refused is not None:
            raise AdapterRejected(
                f"adapter {adapter.ref}: {refused.message}", adapter=str(adapter.ref)
            )
        why = faults[0].message if faults else "no server can be asked at present"
        raise EngineUnavailable(f"adapter {adapter.ref} cannot be loaded now: {why}")
