"""How requests found their adapters: counts that only grow, and the reading of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

# Upper bounds of the buckets of waits, in seconds; one more is without a bound.
WAIT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECENT = 4096


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """A reading of the moment. A hit: the adapter was in a device slot when the request came."""

    hits: int
    misses: int
    reads: int  # loads that had to read the adapter's files
    memory_bytes: int  # of adapters held in host memory behind the slots
    waits: tuple[int, ...]  # by bucket of WAIT_BOUNDS, not summed up
    wait_seconds: float  # the sum over waits


@dataclass
class AdapterUseCounts:
    """The counts of one engine. A wait is from the moment when a row could have had a place but for
    its adapter to that when the adapter was there; rows whose adapter is there in time have none.
    Written by the engine thread alone."""

    hits: int = 0
    misses: int = 0
    wait_seconds: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))  # waits, seconds
    _waits: list[int] = field(default_factory=lambda: [0] * (len(WAIT_BOUNDS) + 1))

    def came(self, *, hit: bool) -> None:
        """A request with an adapter came."""
        if hit:
            self.hits += 1
        else:
            self.misses += 1

    def waited(self, seconds: float) -> None:
        """A row's adapter came this late."""
        self._waits[bisect_left(WAIT_BOUNDS, seconds)] += 1
        self.wait_seconds += seconds
        self.recent.append(seconds)

    def reading(self, *, reads: int, memory_bytes: int) -> AdapterUse:
        """The counts so far, with what the residency says."""
        return AdapterUse(
            self.hits, self.misses, reads, memory_bytes, tuple(self._waits), self.wait_seconds
        )
