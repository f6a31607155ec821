"""What this process knows of adapters: what the registry holds, and which it cannot serve.

An adapter that a route names may leave the registry or be damaged on disk. That is a fact of this
process, not of the log: the effective table sends its routes to their fallback until it is back.
What is held in memory already is served on; content in memory is what was approved.

There may be thousands, and slots for a few: what fits is loaded ahead, the rest when it is first
asked for. What was not loaded yet is checked beside serving, so that damage is found before a
request finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.engine.base import Engine
from gateway.errors import AdapterRejected, EngineUnavailable, GatewayError
from gateway.registry.catalogue import Catalogue
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing.table import AdapterRef, Target

log = logging.getLogger(__name__)

_LOOK_S, _LOOK_AT_MOST_S = 1.0, 30.0


class AdapterSource(Protocol):
    """What is asked of the registry."""

    def catalogue(self) -> Catalogue: ...
    def find(self, ref: AdapterRef) -> AdapterArtifact | None: ...
    def look_ahead(self, ref: AdapterRef) -> None: ...


class KnownAdapters:
    """`read`, `find` and `check` block and may run in any thread; all else is for the loop."""

    def __init__(self, registry: AdapterSource, engine: Engine) -> None:
        self._registry = registry
        self._engine = engine
        self._published: dict[str, AdapterState] = {}
        self._unreadable: dict[AdapterRef, str] = {}
        self._lost: dict[str, str] = {}  # digest -> why it could not be loaded
        self._held: set[str] = set()  # loaded by this process, or to be when asked for; not lost
        self._unseen: set[str] = set()  # of these: what nobody has looked at yet
        self._fitting: set[str] = set()  # what the engine found that it can hold
        self._refs: dict[AdapterRef, AdapterArtifact] = {}  # the newest content that each came to
        self.artifacts: dict[str, AdapterArtifact] = {}  # by digest; nothing known is forgotten
        self.unavailable: dict[Target, str] = {}  # of those that are needed, and why
        self.away: str | None = None  # why the registry cannot be asked, if it cannot
        self.look = asyncio.Event()  # what is lost is to be looked for now
        self._to_check = asyncio.Event()

    def read(self) -> None:
        """Take in what the registry holds now. An adapter that is damaged hides no other; while
        the registry is away, what was known of it stays."""
        now = self._registry.catalogue()
        if now.away != self.away:
            if now.away is not None:
                log.error("what is held is served on: %s", now.away)
            else:
                log.warning("the registry is there again")
        self.away = now.away
        for ref, why in now.damaged.items():
            if self._unreadable.get(ref) != why:
                log.error("adapter %s is left out: %s", ref, why)
        self._unreadable = dict(now.damaged)
        for artifact in now.artifacts.values():
            self._published[artifact.digest] = artifact.state
            self.artifacts[artifact.digest] = artifact
        self._refs.update(now.artifacts)

    def find(self, ref: AdapterRef) -> AdapterArtifact | None:
        """The adapter as the registry has it, checked where this process does not hold it. Raises
        as `Registry.find`."""
        known = self._refs.get(ref)
        if known is not None and known.digest in self._held and ref not in self._unreadable:
            return known
        return self._registry.find(ref)

    def check(self, artifact: AdapterArtifact) -> None:
        """Raises AdapterRejected where the engine cannot hold it. Asked once of each content."""
        if artifact.digest not in self._fitting and artifact.digest not in self._held:
            self._engine.check_adapter(artifact)
            self._fitting.add(artifact.digest)

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
        if target.ref in self._refs:
            return f"{target.ref} in the registry is not the content that the route was given"
        return self.away or f"{target.ref} is not in the registry"

    def fault(self, target: Target) -> str | None:
        """The same, but None also while it is only being loaded."""
        known = target.digest in self.artifacts and target.digest not in self._lost
        return None if known else self.lost(target)

    def lose(self, target: Target, why: str) -> None:
        """Note that `target` could not be loaded."""
        if target.digest is not None:
            self._held.discard(target.digest)
            self._unseen.discard(target.digest)
        if target.digest is not None and self._lost.get(target.digest) != why:
            self._lost[target.digest] = why
            log.error("adapter %s cannot be served: %s", target, why)

    async def load(self, digest: str) -> None:
        """Make a known adapter resident. Raises AdapterRejected with the reason."""
        await self._engine.make_resident(self.artifacts[digest])
        self._held.add(digest)
        self._unseen.discard(digest)
        if self._lost.pop(digest, None) is not None:
            log.warning("adapter %s can be served again", self.artifacts[digest].ref)

    async def load_ahead(self, digests: Iterable[str]) -> None:
        """Load as many of these known adapters as the engine has slots for; the others are loaded
        when they are first asked for. Raises AdapterRejected with the reason."""
        room = self._engine.info.slots
        for digest in sorted(digests):
            if room > 0 or digest in self._lost:
                room -= 1
                await self.load(digest)
            else:
                self._presume(digest)

    async def try_all(self, targets: Iterable[Target]) -> None:
        """The same for those of `targets` that can be had; `lost` knows the others afterwards."""
        room = self._engine.info.slots
        for target in sorted(targets, key=str):
            if target.digest is None or target.ref is None:
                continue
            if target.digest not in self.artifacts:
                log.error("adapter %s cannot be served: %s", target, self.lost(target))
                continue
            if room <= 0 and target.digest not in self._lost:
                if target.ref not in self._unreadable:
                    self._presume(target.digest)
                continue
            room -= 1
            try:
                await self.load(target.digest)
            except EngineUnavailable as error:
                # That says nothing of the adapter: its requests fail by the engine's own error,
                # and the engine loads it when it can.
                self._held.add(target.digest)
                log.error("adapter %s is not loaded yet: %s", target, error.message)
            except GatewayError as error:
                self.lose(target, error.message)

    def _presume(self, digest: str) -> None:
        """There is no room to load it ahead: it can be served until somebody finds otherwise."""
        if digest not in self._held:
            self._held.add(digest)
            if digest not in self._fitting:
                self._unseen.add(digest)
                self._to_check.set()

    def need(self, targets: Iterable[Target]) -> None:
        """Note which of `targets` cannot be served."""
        known = self.unavailable.keys()
        lost = {target: self.lost(target) for target in targets}
        self.unavailable = {target: why for target, why in lost.items() if why is not None}
        # One that is new was perhaps published since the registry was last read. The others are
        # looked for already, in growing pauses.
        if self.unavailable.keys() - known:
            self.look.set()

    async def check_presumed(self, lost: Callable[[], None]) -> None:
        """Have the registry look at what is served and was never loaded. `lost` is called after
        each that turns out to be damaged. Half of one thread's time; runs until cancelled."""
        while True:
            await self._to_check.wait()
            self._to_check.clear()
            for digest in sorted(self._unseen):
                self._unseen.discard(digest)
                artifact, started = self.artifacts[digest], time.monotonic()
                try:
                    await asyncio.to_thread(self._registry.look_ahead, artifact.ref)
                except AdapterRejected as error:
                    self.lose(Target(artifact.ref, digest), error.message)
                    lost()
                except (GatewayError, OSError) as error:  # the registry is away: found when loaded
                    log.warning("adapter %s was not looked at ahead: %s", artifact.ref, error)
                except Exception:  # one that cannot be looked at hides no other
                    log.exception("looking at adapter %s ahead failed", artifact.ref)
                await asyncio.sleep(time.monotonic() - started)

    async def look_for_lost(self, found: Callable[[], None]) -> None:
        """Try to bring back what is unavailable: at once when `look` is set, then ever less often.

        `found` is called after each try. Runs until it is cancelled, whatever goes wrong.
        """
        pause = _LOOK_S
        while True:
            # Not wait_for: it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.look.wait()
            asked = self.look.is_set()
            if not (asked or self.unavailable or self.away):
                pause = _LOOK_AT_MOST_S  # whatever is lost is told at once
                continue
            pause = _LOOK_S if asked else min(2 * pause, _LOOK_AT_MOST_S)
            self.look.clear()
            try:
                await asyncio.to_thread(self.read)
                await self.try_all(list(self.unavailable))
                found()
            except OSError as error:  # the registry's folder is away: tried again
                log.error("the registry cannot be read: %s", error)
            except Exception:  # a search that ended would never bring an adapter back
                log.exception("looking for lost adapters failed; it is tried again")
