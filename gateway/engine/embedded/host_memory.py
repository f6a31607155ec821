"""The tier between disk and slots: adapters in host memory, up to a number of bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gateway.engine.embedded.adapter_file import HostAdapter


class HostMemory:
    """Adapters by digest. Where they are too large together, those asked for least go first; those
    that somebody waits for go last. Not locked: its owner's lock guards it."""

    def __init__(self, limit_bytes: int, worth: Callable[[str], float]) -> None:
        self.limit_bytes = limit_bytes
        self.nbytes = 0
        self._worth = worth
        self._held: dict[str, HostAdapter] = {}

    def get(self, digest: str) -> HostAdapter | None:
        return self._held.get(digest)

    def has_room(self, nbytes: int, keep: Collection[str]) -> bool:
        """Whether so much more fits beside those of `keep`."""
        kept = sum(self._held[digest].nbytes for digest in keep if digest in self._held)
        return kept + nbytes <= self.limit_bytes

    def put(self, adapter: HostAdapter, keep: Collection[str]) -> None:
        """Hold `adapter`, and none of those outside `keep` beyond the limit; nor of `keep`, once
        no others are left. The new one itself stays: it is on its way to a slot."""
        self.drop(adapter.digest)
        self._held[adapter.digest] = adapter
        self.nbytes += adapter.nbytes
        self._shrink(lambda digest: digest not in keep and digest != adapter.digest)
        self._shrink(lambda digest: digest != adapter.digest)

    def drop(self, digest: str) -> None:
        """Hold it no more."""
        adapter = self._held.pop(digest, None)
        if adapter is not None:
            self.nbytes -= adapter.nbytes

    def clear(self) -> None:
        """Hold nothing."""
        self._held.clear()
        self.nbytes = 0

    def _shrink(self, may_go: Callable[[str], bool]) -> None:
        if self.nbytes <= self.limit_bytes:
            return
        for digest in sorted(filter(may_go, self._held), key=self._worth):
            if self.nbytes <= self.limit_bytes:
                return
            self.drop(digest)
