"""What this process knows of adapters: what the registry holds, and which it cannot serve.

An adapter that a route names may leave the registry or be damaged on disk. That is a fact of this
process, not of the log: the effective table sends its routes to their fallback until it is back.
What is held in memory already is served on; content in memory is what was approved.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.engine.base import Engine
from gateway.errors import EngineUnavailable, GatewayError
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing.table import AdapterRef, Target

log = logging.getLogger(__name__)

_LOOK_S, _LOOK_AT_MOST_S = 1.0, 30.0


class AdapterSource(Protocol):
    """What is asked of the registry."""

    def refs(self) -> list[AdapterRef]: ...
    def get(self, ref: AdapterRef) -> AdapterArtifact: ...


class KnownAdapters:
    """`read` blocks and may run in any thread; all else is for the event loop."""

    def __init__(self, registry: AdapterSource, engine: Engine) -> None:
        self._registry = registry
        self._engine = engine
        self._published: dict[str, AdapterState] = {}
        self._unreadable: dict[AdapterRef, str] = {}
        self._lost: dict[str, str] = {}  # digest -> why it could not be loaded
        self._held: set[str] = set()  # loaded at least once by this process, and not lost since
        self.artifacts: dict[str, AdapterArtifact] = {}  # by digest; nothing known is forgotten
        self.unavailable: dict[Target, str] = {}  # of those that are needed, and why
        self.look = asyncio.Event()  # what is lost is to be looked for now

    def read(self) -> None:
        """Take in what the registry holds now. An adapter that is damaged hides no other."""
        unreadable: dict[AdapterRef, str] = {}
        for ref in self._registry.refs():
            try:
                artifact = self._registry.get(ref)
            except GatewayError as error:
                unreadable[ref] = error.message
                if self._unreadable.get(ref) != error.message:
                    log.error("adapter %s is left out: %s", ref, error)
                continue
            self._published[artifact.digest] = artifact.state
            self.artifacts[artifact.digest] = artifact
        self._unreadable = unreadable

    def published(self, digest: str) -> AdapterState | None:
        """What the registry published an adapter as, if it knows it."""
        return self._published.get(digest)

    def lost(self, target: Target) -> str | None:
        """Why `target` cannot be served by this process; None where it can."""
        if target.digest is None or target.ref is None:
            return None
        if (why := self._lost.get(target.digest)) is not None:
            return why
        if target.digest in self._held:
            return None
        if target.digest in self.artifacts:
            return f"{target.ref} is being loaded"
        if (why := self._unreadable.get(target.ref)) is not None:
            return why
        if any(known.ref == target.ref for known in self.artifacts.values()):
            return f"{target.ref} in the registry is not the content that the route was given"
        return f"{target.ref} is not in the registry"

    def fault(self, target: Target) -> str | None:
        """The same, but None also while it is only being loaded."""
        known = target.digest in self.artifacts and target.digest not in self._lost
        return None if known else self.lost(target)

    def lose(self, target: Target, why: str) -> None:
        """Note that `target` could not be loaded."""
        if target.digest is not None:
            self._held.discard(target.digest)
        if target.digest is not None and self._lost.get(target.digest) != why:
            self._lost[target.digest] = why
            log.error("adapter %s cannot be served: %s", target, why)

    async def load(self, digest: str) -> None:
        """Make a known adapter resident. Raises AdapterRejected with the reason."""
        await self._engine.make_resident(self.artifacts[digest])
        self._held.add(digest)
        if self._lost.pop(digest, None) is not None:
            log.warning("adapter %s can be served again", self.artifacts[digest].ref)

    async def try_all(self, targets: Iterable[Target]) -> None:
        """Load those of `targets` that can be had; `lost` knows the others afterwards."""
        for target in sorted(targets, key=str):
            if target.digest is None:
                continue
            if target.digest not in self.artifacts:
                log.error("adapter %s cannot be served: %s", target, self.lost(target))
                continue
            try:
                await self.load(target.digest)
            except EngineUnavailable as error:
                # That says nothing of the adapter: its requests fail by the engine's own error,
                # and the engine loads it when it can.
                self._held.add(target.digest)
                log.error("adapter %s is not loaded yet: %s", target, error.message)
            except GatewayError as error:
                self.lose(target, error.message)

    def need(self, targets: Iterable[Target]) -> None:
        """Note which of `targets` cannot be served."""
        known = self.unavailable.keys()
        lost = {target: self.lost(target) for target in targets}
        self.unavailable = {target: why for target, why in lost.items() if why is not None}
        # One that is new was perhaps published since the registry was last read. The others are
        # looked for already, in growing pauses.
        if self.unavailable.keys() - known:
            self.look.set()

    async def look_for_lost(self, found: Callable[[], None]) -> None:
        """Try to bring back what is unavailable: at once when `look` is set, then ever less often.

        `found` is called after each try. Runs until it is cancelled, whatever goes wrong.
        """
        pause = _LOOK_S
        while True:
            if self.unavailable:
                # Not wait_for: it loses a cancellation that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self.look.wait()
            else:
                await self.look.wait()
            pause = _LOOK_S if self.look.is_set() else min(2 * pause, _LOOK_AT_MOST_S)
            self.look.clear()
            try:
                await asyncio.to_thread(self.read)
                await self.try_all(list(self.unavailable))
                found()
            except OSError as error:  # the registry's folder is away: tried again
                log.error("the registry cannot be read: %s", error)
            except Exception:  # a search that ended would never bring an adapter back
                log.exception("looking for lost adapters failed; it is tried again")
