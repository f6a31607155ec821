"""Where adapters live: device slots, host memory, disk; and how they come from one to the other.

More adapters than slots is normal. A request's adapter is read to host memory while the request
waits in the queue, and copied to a slot that nothing needs, so that it is there when the request's
turn comes. No running row looks at a slot that is filled, so other rows never pause.

The engine thread asks (`expect`, `acquire`, `release`, `withdraw`, never blocking); one loader
thread reads and fills; a lock guards the bookkeeping alone, never a copy or a read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from gateway.engine.embedded.adapter_file import HostAdapter
from gateway.engine.embedded.host_memory import HostMemory
from gateway.engine.embedded.lora import LoraLinear
from gateway.engine.embedded.slot_table import Need, SlotTable
from gateway.engine.embedded.slots import SlotTensors
from gateway.engine.embedded.threads import compute_alone
from gateway.errors import AdapterRejected, EngineFault, GatewayError
from gateway.registry.values import AdapterArtifact

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Load:
    artifact: AdapterArtifact
    need: Need
    done: Future[None] | None = None  # somebody waits for it, apart from rows
    for_row: bool = False  # a row waits for it: a failure is kept until the row asks
    urgent_since: float = 0.0  # monotonic seconds

    @property
    def digest(self) -> str:
        return self.artifact.digest


@dataclass(frozen=True, slots=True)
class _Read:
    load: _Load


@dataclass(frozen=True, slots=True)
class _Fill:
    load: _Load
    adapter: HostAdapter
    index: int


class Residency:
    """The three tiers. `on_change` is called (from the loader) when a load ended either way."""

    def __init__(
        self,
        *,
        layers: Mapping[str, LoraLinear],
        slots: int,
        host_bytes: int,
        drain_after_s: float,
        read: Callable[[AdapterArtifact], HostAdapter],
        on_change: Callable[[], None],
    ) -> None:
        self.tensors = SlotTensors(layers, slots)
        self._read = read
        self._on_change = on_change
        self._drain_after_s = drain_after_s
        self._table = SlotTable(slots)
        self._memory = HostMemory(host_bytes, self._table.popularity.of)
        self._loads: dict[str, _Load] = {}  # in the order in which they were asked for
        self._failed: dict[str, GatewayError] = {}
        self._changed = threading.Condition()
        self._closed = False
        self.loads = self.load_failures = self.reads = 0
        self.load_seconds = 0.0
        self._filled_at = [0.0] * slots  # monotonic seconds
        self._thread = threading.Thread(target=self._run, name="adapter-loader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the loader; loads still waiting fail."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    # The engine thread's side.

    def expect(self, artifact: AdapterArtifact) -> bool:
        """A live request for `artifact` came: have it at hand by the time of its turn. Whether it
        is in a slot. Ends with an `acquire` that gives a slot, or with `withdraw`."""
        with self._changed:
            ready = self._table.expect(artifact.digest)
            if not ready:
                self._ask(artifact, Need.AHEAD, for_row=True)
            return ready

    def acquire(
        self, artifact: AdapterArtifact, *, background: bool = False, urgent: bool = True
    ) -> int | None:
        """The slot that holds `artifact`, kept until `release`; None while it is being loaded.

        `urgent`: the row has a place but for this; a slot is drained for it if need be.
        For `background` work it is loaded only to a slot that nothing needs and no live route's
        adapter is in; None also while there is none.
        Raises what the load raised (AdapterRejected, EngineFault), once: a later call tries again.
        """
        with self._changed:
            error = self._failed.pop(artifact.digest, None)
            if error is not None:
                raise error
            index = self._table.join(artifact.digest, background=background)
            if index is not None:
                return index
            if not background:
                self._ask(artifact, Need.URGENT if urgent else Need.AHEAD, for_row=True)
            elif self._table.victim(Need.BACKGROUND) is not None:
                self._ask(artifact, Need.BACKGROUND, for_row=True)
            return None

    def waited(self, index: int, since: float) -> float:
        """How long one that has slot `index`, and lacked its adapter since then, waited for that:
        until the slot was filled, or was given back by a drain that it asked off (seconds)."""
        filled = self._filled_at[index]
        return (filled if filled > since else time.monotonic()) - since

    def release(self, index: int) -> None:
        """Give back a slot that `acquire` gave."""
        with self._changed:
            self._table.leave(index)
            self._changed.notify_all()

    def withdraw(self, digest: str, *, background: bool = False) -> None:
        """A row that waited for `digest` left: after the last one neither slot, load nor error is
        kept for it."""
        with self._changed:
            if not background:
                self._table.expect_less(digest)
            if self._table.is_wanted(digest):
                return
            self._failed.pop(digest, None)
            self._table.withdraw(digest)
            load = self._loads.get(digest)
            if load is not None and load.done is None:
                del self._loads[digest]
            elif load is not None:
                load.need, load.for_row = Need.KEPT, False
            self._changed.notify_all()

    # Everybody's side.

    def ensure(self, artifact: AdapterArtifact) -> Future[None]:
        """A future that ends when `artifact` is in a slot, or in host memory where every slot is
        busy, or fails with the reason."""
        with self._changed:
            if self._table.is_ready(artifact.digest):
                done: Future[None] = Future()
                done.set_result(None)
                return done
            self._table.popularity.asked(artifact.digest)  # as new as if a request had come
            load = self._ask(artifact, Need.KEPT)
            if load.done is None:
                load.done = Future()
            return load.done

    def set_pinned(self, digests: Collection[str]) -> None:
        with self._changed:
            self._table.pinned = frozenset(digests)

    def resident(self) -> tuple[str, ...]:
        with self._changed:
            return self._table.resident()

    def pinned(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(sorted(self._table.pinned))

    @property
    def evictions(self) -> int:
        return self._table.evictions

    @property
    def memory_bytes(self) -> int:
        """Of the adapters in host memory."""
        return self._memory.nbytes

    # The loader thread.

    def _ask(self, artifact: AdapterArtifact, need: Need, *, for_row: bool = False) -> _Load:
        load = self._loads.get(artifact.digest)
        if load is None:
            load = self._loads[artifact.digest] = _Load(artifact, need)
        elif need <= load.need and load.for_row >= for_row:
            return load
        if need is Need.URGENT:
            load.urgent_since = time.monotonic()
        load.need = max(need, load.need)
        load.for_row |= for_row
        self._changed.notify_all()
        return load

    def _run(self) -> None:
        compute_alone()
        while True:
            with self._changed:
                while (work := self._next()) is None and not self._closed:
                    self._changed.wait(self._until_a_drain())
                if self._closed:
                    self._fail_all()
                    return
            assert work is not None
            self._work_on(work)

    def _next(self) -> _Read | _Fill | None:
        """What to do now: fill what is in memory where a slot can be had, else read; the most
        urgent first, in order of arrival."""
        pending = sorted(self._loads.values(), key=lambda load: -load.need)  # stable
        to_read: _Load | None = None
        no_slot_for: Need | None = None  # nor for a smaller need, then
        for load in pending:
            if self._table.is_held(load.digest):
                # A slot that is being emptied for an older load is not asked back.
                if no_slot_for is not Need.URGENT or not self._table.is_draining(load.digest):
                    self._table.keep(load.digest, load.need)
                    self._settle(load)
                continue
            adapter = self._memory.get(load.digest)
            if adapter is None:
                to_read = to_read or self._readable(load, is_first=load is pending[0])
                continue
            index = self._table.victim(load.need) if no_slot_for is None else None
            if index is not None:
                self._table.begin(index, load.digest)
                return _Fill(load, adapter, index)
            no_slot_for = no_slot_for or load.need
            if load.need <= Need.KEPT:  # memory is as near as it gets for now
                self._settle(load)
        return _Read(to_read) if to_read else None

    def _readable(self, load: _Load, *, is_first: bool) -> _Load | None:
        """`load`, unless what it reads would push out what others wait for."""
        fits = is_first or self._memory.has_room(load.artifact.size_bytes, self._loads)
        return load if fits else None

    def _until_a_drain(self) -> float | None:
        """Seconds until a load will have waited too long for a slot; now, one is drained for it."""
        since = [load.urgent_since for load in self._loads.values() if load.need is Need.URGENT]
        if not since:
            return None
        left = self._drain_after_s - (time.monotonic() - min(since))
        if left > 0:
            return left
        self._table.drain_one()
        return None

    def _work_on(self, work: _Read | _Fill) -> None:
        load, started = work.load, time.perf_counter()
        error: GatewayError | None = None
        try:
            if isinstance(work, _Read):
                adapter = self._read(load.artifact)
            else:
                self.tensors.fill(work.index, work.adapter)
        except GatewayError as refused:
            error = refused
        except Exception as failed:
            ref = load.artifact.ref
            log.exception("loading adapter %s failed", ref)
            error = AdapterRejected(f"adapter {ref} could not be loaded", adapter=str(ref))
            error.__cause__ = failed
        with self._changed:
            self.load_seconds += time.perf_counter() - started
            if isinstance(work, _Read):
                if error is None:
                    self.reads += 1
                    self._memory.put(adapter, self._loads)
                    return
            elif error is None:
                self.loads += 1
                self._filled_at[work.index] = time.monotonic()
                self._table.filled(work.index, load.need)
            else:
                self._table.abandon(work.index)
            self._settle(load, error)

    def _settle(self, load: _Load, error: GatewayError | None = None) -> None:
        """The load ended."""
        if self._loads.get(load.digest) is load:  # else nobody waits for it any more
            del self._loads[load.digest]
            if error is not None and load.for_row:
                self._failed[load.digest] = error
        if error is not None:
            self.load_failures += 1
        if load.done is not None:
            if error is None:
                load.done.set_result(None)
            else:
                load.done.set_exception(error)
        self._on_change()

    def _fail_all(self) -> None:
        for load in self._loads.values():
            if load.done is not None:
                load.done.set_exception(EngineFault("the engine is stopping"))
        self._loads.clear()
