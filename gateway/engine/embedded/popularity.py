"""How much an adapter is asked for, recent requests weighing more. Pure; no clock but requests.

The value is the combined recency and frequency of LRFU (Lee and others, "LRFU: a spectrum of
policies that subsumes the least recently used and least frequently used policies", IEEE
Transactions on Computers, 2001): the sum over an adapter's requests of 2^(-age / half-life), age in
requests of any adapter. A half-life near zero is LRU, an endless one LFU.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

# Requests after which one weighs half. Under a Zipf law, any from some hundred on keeps the popular
# in their slots; the shorter, the sooner a change of popularity is followed.
HALF_LIFE = 256
_REMEMBERED = 16_384  # adapters; the least popular half is forgotten beyond


@dataclass
class Popularity:
    """The values of adapters by digest. Not locked: its owner's lock guards it."""

    half_life: float = HALF_LIFE
    remembered: int = _REMEMBERED
    _now: int = 0
    _values: dict[str, tuple[float, int]] = field(default_factory=dict)  # value, as of then

    def asked(self, digest: str) -> None:
        """A request for it came."""
        self._now += 1
        self._values[digest] = (1.0 + self.of(digest), self._now)
        if len(self._values) > self.remembered:
            ranked = sorted(self._values, key=self.of, reverse=True)
            self._values = {name: self._values[name] for name in ranked[: self.remembered // 2]}

    def of(self, digest: str | None) -> float:
        """Its value now; 0 for one that was never asked for, or too long ago to matter."""
        if digest is None or (known := self._values.get(digest)) is None:
            return 0.0
        value, then = known
        return float(value * 2.0 ** ((then - self._now) / self.half_life))

    def least(self, digests: Iterable[str]) -> str:
        """The one to be missed least; the first of equals."""
        return min(digests, key=self.of)
