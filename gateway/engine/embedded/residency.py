"""Where adapters live: device slots, host memory, disk; and who may be evicted.

More adapters than slots is normal: a load finds a free slot or the least recently used one that
nothing needs, reads through host memory, and copies into tensors no running row looks at, so other
rows never pause. The engine thread asks (`acquire`, `release`, never blocking); one loader thread
fills slots; a lock guards the bookkeeping alone, never a copy or a read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from gateway.engine.embedded.adapter_file import HostAdapter
from gateway.engine.embedded.lora import LoraLinear
from gateway.engine.embedded.threads import compute_alone
from gateway.errors import AdapterRejected, EngineFault, GatewayError
from gateway.registry.values import AdapterArtifact

log = logging.getLogger(__name__)


@dataclass
class _Slot:
    digest: str | None = None
    ready: bool = False  # its tensors hold the adapter
    refs: int = 0  # running rows
    promised: bool = False  # loaded for a waiting row that has not come yet
    draining: bool = False  # no new rows: somebody waits for this slot
    used: int = 0  # clock of last use


@dataclass
class _Load:
    artifact: AdapterArtifact
    done: Future[None] = field(default_factory=Future)
    for_row: bool = False  # a row waits for it: a failure is kept until the row asks again
    urgent: bool = False  # a live one: worth draining a slot, which is then promised to it


class Residency:
    """The three tiers. `on_change` is called (from the loader) when a load ended either way."""

    def __init__(
        self,
        *,
        layers: Mapping[str, LoraLinear],
        slots: int,
        host_adapters: int,
        drain_after_s: float,
        read: Callable[[AdapterArtifact], HostAdapter],
        on_change: Callable[[], None],
    ) -> None:
        self._layers = layers
        self._read = read
        self._on_change = on_change
        self._drain_after_s = drain_after_s
        self._host_limit = host_adapters
        self._host: OrderedDict[str, HostAdapter] = OrderedDict()
        self._slots = [_Slot() for _ in range(slots)]
        # Read by the runner for the slots its rows hold, which no load touches meanwhile.
        self.ranks = [0] * slots
        self.layer_masks = [0] * slots
        self._by_digest: dict[str, int] = {}
        self._loads: dict[str, _Load] = {}
        self._queue: deque[str] = deque()
        self._failed: dict[str, GatewayError] = {}
        self._pinned: frozenset[str] = frozenset()
        self._clock = 0
        self._changed = threading.Condition()
        self._closed = False
        self.loads = self.load_failures = self.evictions = 0
        self.load_seconds = 0.0
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

    def acquire(self, artifact: AdapterArtifact, *, background: bool = False) -> int | None:
        """The slot that holds `artifact`, kept until `release`; None while it is being loaded.

        For `background` work it is loaded only to a slot that nothing needs and no live route's
        adapter is in; None also while there is none.
        Raises what the load raised (AdapterRejected, EngineFault), once: a later call tries again.
        """
        with self._changed:
            error = self._failed.pop(artifact.digest, None)
            if error is not None:
                raise error
            index = self._by_digest.get(artifact.digest)
            if index is not None:
                slot = self._slots[index]
                if slot.ready and not background and (slot.promised or not slot.draining):
                    slot.refs += 1
                    slot.promised = False
                    self._touch(slot)
                    return index
                if slot.ready and background and not slot.draining:
                    slot.refs += 1
                    return index
            if not background:
                self._enqueue(artifact, for_row=True, urgent=True)
            elif index is None and self._victim(spare_pinned=True) is not None:
                self._enqueue(artifact, for_row=True)
            return None

    def release(self, index: int) -> None:
        """Give back a slot that `acquire` gave."""
        with self._changed:
            self._slots[index].refs -= 1
            self._changed.notify_all()

    def withdraw(self, digest: str) -> None:
        """No live row waits for `digest` any more: neither slot nor error is kept for it."""
        with self._changed:
            self._failed.pop(digest, None)
            load = self._loads.get(digest)
            if load is not None:
                load.for_row = load.urgent = False
            index = self._by_digest.get(digest)
            if index is not None:
                self._slots[index].promised = False
            self._changed.notify_all()

    # Everybody's side.

    def ensure(self, artifact: AdapterArtifact) -> Future[None]:
        """A future that ends when `artifact` is in a slot, or in host memory where every slot is
        busy, or fails with the reason."""
        with self._changed:
            index = self._by_digest.get(artifact.digest)
            if index is not None and self._slots[index].ready:
                self._touch(self._slots[index])
                done: Future[None] = Future()
                done.set_result(None)
                return done
            return self._enqueue(artifact).done

    def set_pinned(self, digests: Collection[str]) -> None:
        with self._changed:
            self._pinned = frozenset(digests)

    def resident(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(s.digest for s in self._slots if s.ready and s.digest is not None)

    def pinned(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(sorted(self._pinned))

    @property
    def nbytes(self) -> int:
        return sum(layer.a.nbytes + layer.b.nbytes for layer in self._layers.values())

    # The loader thread.

    def _touch(self, slot: _Slot) -> None:
        self._clock += 1
        slot.used = self._clock

    def _enqueue(
        self, artifact: AdapterArtifact, *, for_row: bool = False, urgent: bool = False
    ) -> _Load:
        load = self._loads.get(artifact.digest)
        if load is None:
            load = self._loads[artifact.digest] = _Load(artifact)
            self._queue.append(artifact.digest)
            self._changed.notify_all()
        load.for_row |= for_row
        load.urgent |= urgent
        return load

    def _run(self) -> None:
        compute_alone()
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    self._fail_all()
                    return
                load = self._loads[self._queue.popleft()]
            started = time.perf_counter()
            try:
                self._load(load)
            except GatewayError as error:
                self._finish(load, error, started)
            except Exception as error:
                ref = load.artifact.ref
                log.exception("loading adapter %s failed", ref)
                fault = AdapterRejected(f"adapter {ref} could not be loaded", adapter=str(ref))
                fault.__cause__ = error
                self._finish(load, fault, started)
            else:
                self._finish(load, None, started)

    def _load(self, load: _Load) -> None:
        artifact = load.artifact
        adapter = self._host_adapter(artifact)
        if self._already_there(load):
            return
        index = self._take_slot(load)
        if index is None:
            return
        try:
            self._fill(index, adapter)
        except BaseException:
            with self._changed:
                self._slots[index] = _Slot()
                del self._by_digest[artifact.digest]
            raise
        with self._changed:
            slot = self._slots[index]
            slot.ready = True
            slot.promised = load.urgent
            self._touch(slot)

    def _finish(self, load: _Load, error: GatewayError | None, started: float) -> None:
        with self._changed:
            del self._loads[load.artifact.digest]
            if error is None:
                self.loads += 1
                self.load_seconds += time.perf_counter() - started
            else:
                self.load_failures += 1
                if load.for_row:
                    self._failed[load.artifact.digest] = error
        if error is None:
            load.done.set_result(None)
        else:
            load.done.set_exception(error)
        self._on_change()

    def _fail_all(self) -> None:
        for load in self._loads.values():
            load.done.set_exception(EngineFault("the engine is stopping"))
        self._loads.clear()

    def _host_adapter(self, artifact: AdapterArtifact) -> HostAdapter:
        adapter = self._host.get(artifact.digest)  # touched by the loader thread alone
        if adapter is None:
            adapter = self._read(artifact)
            self._host[artifact.digest] = adapter
            while len(self._host) > self._host_limit:
                self._host.popitem(last=False)
        self._host.move_to_end(artifact.digest)
        return adapter

    def _already_there(self, load: _Load) -> bool:
        """A row asked for a slot that was draining: it is its own again, once asked for."""
        with self._changed:
            index = self._by_digest.get(load.artifact.digest)
            if index is None:
                return False
            self._slots[index].draining = False
            self._slots[index].promised = load.urgent
            return True

    def _take_slot(self, load: _Load) -> int | None:
        """A slot that now belongs to the load, not ready yet. Waits for one while a live row needs
        it; None where none does: then host memory is as near as it gets for now."""
        digest = load.artifact.digest
        waited_since = time.monotonic()
        with self._changed:
            while True:
                if self._closed:
                    raise EngineFault("the engine is stopping")
                index = self._victim(spare_pinned=load.for_row and not load.urgent)
                if index is not None:
                    slot = self._slots[index]
                    if slot.digest is not None:
                        del self._by_digest[slot.digest]
                        self.evictions += 1
                    self._slots[index] = _Slot(digest=digest)
                    self._by_digest[digest] = index
                    for other in self._slots:
                        other.draining = False
                    return index
                if not load.urgent:
                    return None
                left = self._drain_after_s - (time.monotonic() - waited_since)
                if left <= 0:
                    self._drain_one()
                self._changed.wait(left if left > 0 else None)

    def _candidates(self) -> list[int]:
        """Slots that may go, best first: unpinned before pinned, least recently used first.

        Pinned ones are offered only while every slot is pinned: then they share by recency.
        """
        indices = [i for i, s in enumerate(self._slots) if not s.promised]
        unpinned = [i for i in indices if self._slots[i].digest not in self._pinned]
        any_unpinned = any(s.digest not in self._pinned for s in self._slots)
        chosen = unpinned if any_unpinned else indices
        return sorted(chosen, key=lambda i: self._slots[i].used)

    def _victim(self, *, spare_pinned: bool = False) -> int | None:
        for index, slot in enumerate(self._slots):
            if slot.digest is None:
                return index
        for index in self._candidates():
            slot = self._slots[index]
            if slot.refs == 0 and not (spare_pinned and slot.digest in self._pinned):
                return index
        return None

    def _drain_one(self) -> None:
        """Stop new rows from joining the best candidate, so that it empties in bounded time."""
        if not any(slot.draining for slot in self._slots):
            for index in self._candidates()[:1]:
                self._slots[index].draining = True

    @torch.inference_mode()
    def _fill(self, index: int, adapter: HostAdapter) -> None:
        mask = 0
        for name, layer in self._layers.items():
            weights = adapter.weights.get(name)
            layer.a[index].zero_()
            layer.b[index].zero_()
            if weights is not None:
                a, b = weights
                layer.a[index, : a.shape[0]].copy_(a)
                layer.b[index, : b.shape[0]].copy_(b)
                mask |= 1 << layer.index
        self.ranks[index] = adapter.rank
        self.layer_masks[index] = mask
        if next(iter(self._layers.values())).a.is_cuda:
            torch.cuda.synchronize()
