"""Which adapter is in which device slot, and which may go. Pure: no tensors, no threads.

A slot that a row runs on, or that was filled for a row that has a place, is never given away. Of
the others go first those that no waiting request wants, then those that are asked for least.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum

from gateway.engine.embedded.popularity import Popularity


class Need(IntEnum):
    """For whom an adapter is to be loaded; the larger goes first."""

    BACKGROUND = 0  # a background row: to a slot that nothing needs and no live route names
    KEPT = 1  # a route that goes live: to a slot, else to memory
    AHEAD = 2  # a request in the queue, that has no place yet
    URGENT = 3  # a request with a place: worth draining a slot, which is then promised to it


@dataclass
class _Slot:
    digest: str | None = None
    ready: bool = False  # its tensors hold the adapter
    refs: int = 0  # running rows
    promised: bool = False  # filled for a row with a place that has not come yet
    draining: bool = False  # no new rows: somebody waits for this slot


class SlotTable:
    """The slots' bookkeeping. Not locked: its owner's lock guards it."""

    def __init__(self, slots: int) -> None:
        self._slots = [_Slot() for _ in range(slots)]
        self._by_digest: dict[str, int] = {}
        self._wanted: Counter[str] = Counter()  # live requests that wait, by adapter
        self.popularity = Popularity()
        self.pinned: frozenset[str] = frozenset()
        self.evictions = 0

    # Requests.

    def expect(self, digest: str) -> bool:
        """A live request came that wants `digest`; whether it is in a slot."""
        self.popularity.asked(digest)
        self._wanted[digest] += 1
        return self.is_ready(digest)

    def expect_less(self, digest: str) -> None:
        """One of them waits no more: it was let in, or it left."""
        self._wanted[digest] -= 1
        if self._wanted[digest] <= 0:
            del self._wanted[digest]

    def is_wanted(self, digest: str | None) -> bool:
        """Whether a live request waits that wants it."""
        return digest in self._wanted

    def withdraw(self, digest: str) -> None:
        """No request waits for `digest` any more: its slot is kept for nobody."""
        index = self._by_digest.get(digest)
        if index is not None:
            self._slots[index].promised = False

    # Rows.

    def join(self, digest: str, *, background: bool = False) -> int | None:
        """The slot of `digest`, held until `leave`; None where it is in none that rows may join."""
        index = self._by_digest.get(digest)
        if index is None:
            return None
        slot = self._slots[index]
        if not slot.ready or (slot.draining and (background or not slot.promised)):
            return None
        slot.refs += 1
        if not background:
            slot.promised = False
            self.expect_less(digest)
        return index

    def leave(self, index: int) -> None:
        """Give back what `join` gave."""
        self._slots[index].refs -= 1

    # Loads.

    def is_held(self, digest: str) -> bool:
        """Whether it is in a slot, or on its way there."""
        return digest in self._by_digest

    def is_draining(self, digest: str) -> bool:
        """Whether no new row may join it."""
        return self._slots[self._by_digest[digest]].draining

    def is_ready(self, digest: str) -> bool:
        """Whether it is in a slot, whole."""
        index = self._by_digest.get(digest)
        return index is not None and self._slots[index].ready

    def victim(self, need: Need) -> int | None:
        """A slot that may be filled for `need`, if there is one."""
        for index, slot in enumerate(self._slots):
            if slot.digest is None:
                return index
        for index in self._candidates():
            slot = self._slots[index]
            if slot.refs or not slot.ready:
                continue
            if need is not Need.URGENT and self.is_wanted(slot.digest):
                continue
            if need is Need.BACKGROUND and slot.digest in self.pinned:
                continue
            return index
        return None

    def begin(self, index: int, digest: str) -> None:
        """The slot is `digest`'s from here on, not ready yet."""
        old = self._slots[index]
        if old.digest is not None:
            del self._by_digest[old.digest]
            self.evictions += 1
        self._slots[index] = _Slot(digest)
        self._by_digest[digest] = index
        for slot in self._slots:
            slot.draining = False

    def filled(self, index: int, need: Need) -> None:
        """The slot's tensors hold its adapter."""
        slot = self._slots[index]
        slot.ready = True
        self._promise(slot, need)

    def abandon(self, index: int) -> None:
        """It could not be filled: the slot is free."""
        digest = self._slots[index].digest
        if digest is not None:
            del self._by_digest[digest]
        self._slots[index] = _Slot()

    def keep(self, digest: str, need: Need) -> None:
        """Somebody asked for what is in a slot that was to be drained: it stays."""
        slot = self._slots[self._by_digest[digest]]
        slot.draining = False
        self._promise(slot, need)

    def drain_one(self) -> None:
        """Stop new rows from joining the best candidate, so that it empties in bounded time."""
        if not any(slot.draining for slot in self._slots):
            for index in self._candidates()[:1]:
                self._slots[index].draining = True

    # Readings.

    def resident(self) -> tuple[str, ...]:
        """The adapters in slots, in the slots' order."""
        return tuple(s.digest for s in self._slots if s.ready and s.digest is not None)

    def _promise(self, slot: _Slot, need: Need) -> None:
        slot.promised |= need is Need.URGENT and self.is_wanted(slot.digest)

    def _candidates(self) -> list[int]:
        """Slots that may go, best first. Pinned ones are offered only while all are pinned."""
        indices = [i for i, slot in enumerate(self._slots) if not slot.promised]
        unpinned = [i for i in indices if self._slots[i].digest not in self.pinned]
        any_unpinned = any(slot.digest not in self.pinned for slot in self._slots)

        def worth(index: int) -> tuple[bool, float]:
            digest = self._slots[index].digest
            return self.is_wanted(digest), self.popularity.of(digest)

        return sorted(unpinned if any_unpinned else indices, key=worth)
