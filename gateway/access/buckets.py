"""Token buckets: how much a rate limit has left. Pure; the clock is the caller's.

A bucket holds one minute's allowance and is filled evenly, so that over any span of t seconds at
most `per_minute * (1 + t / 60)` gets through (the token-bucket bound). What is spent after it was
let in, as the tokens of an answer are, may take the level below zero; the debt is waited off.
"""

from __future__ import annotations

from dataclasses import dataclass

_MINUTE_S = 60.0
_ROUNDING = 1e-9  # of one unit: a wait that was told must be long enough


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was left at one moment."""

    per_minute: int
    level: float
    at: float  # seconds, of a clock that does not go back

    @classmethod
    def full(cls, per_minute: int, now: float) -> Bucket:
        """A bucket that nothing was taken from."""
        return cls(per_minute, float(per_minute), now)

    def filled(self, now: float) -> Bucket:
        """The same bucket at `now`."""
        gained = max(0.0, now - self.at) * self.per_minute / _MINUTE_S
        level = min(float(self.per_minute), self.level + gained)
        return Bucket(self.per_minute, level, max(now, self.at))

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be let in; 0 where it may be now. More than the bucket can
        ever hold is let in when the bucket is full: refusing it for ever would help nobody."""
        missing = min(amount, self.per_minute) - self.filled(now).level
        if missing <= _ROUNDING * self.per_minute:
            return 0.0
        return missing * _MINUTE_S / self.per_minute

    def spend(self, amount: float, now: float) -> Bucket:
        """The bucket after `amount` was taken, whether it held as much or not."""
        filled = self.filled(now)
        return Bucket(self.per_minute, filled.level - amount, filled.at)
