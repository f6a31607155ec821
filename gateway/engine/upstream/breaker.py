"""The circuit breaker of one server, as a value: closed, open (ejected), half-open (on trial).

Nothing here reads a clock; `now` is any monotonic time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Circuit(StrEnum):
    CLOSED = "closed"  # takes requests
    OPEN = "open"  # ejected: takes none until its pause is over
    HALF_OPEN = "half_open"  # the pause is over: takes one request at a time, as a trial


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """When a server is ejected, and for how long."""

    failures: int = 3  # in a row
    pause_s: float = 1.0  # the first time; doubled with each ejection that follows on a trial
    longest_pause_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """Every method returns what it is afterwards."""

    rule: BreakerRule = BreakerRule()
    failures: int = 0  # in a row
    ejections: int = 0  # in a row: since it last came back
    until: float | None = None  # when the pause ends; None while closed
    on_trial: bool = False  # a request is out that decides

    def circuit(self, now: float) -> Circuit:
        """What it is at `now`."""
        if self.until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.until else Circuit.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether a request may go there now."""
        circuit = self.circuit(now)
        return circuit is Circuit.CLOSED or (circuit is Circuit.HALF_OPEN and not self.on_trial)

    def sent(self, now: float) -> Breaker:
        """A request went there."""
        return replace(self, on_trial=self.circuit(now) is Circuit.HALF_OPEN)

    def succeeded(self, now: float) -> Breaker:
        """The server did what was asked. While it is ejected that proves nothing: the answer was
        under way before."""
        if self.circuit(now) is Circuit.OPEN:
            return self
        return Breaker(self.rule)

    def failed(self, now: float) -> Breaker:
        """It did not. A trial that fails ejects at once."""
        circuit = self.circuit(now)
        if circuit is Circuit.OPEN:
            return self
        failures = self.failures + 1
        if circuit is Circuit.CLOSED and failures < self.rule.failures:
            return replace(self, failures=failures)
        pause = self.rule.pause_s * 2.0 ** min(self.ejections, 32)
        return Breaker(
            self.rule,
            failures=failures,
            ejections=self.ejections + 1,
            until=now + min(pause, self.rule.longest_pause_s),
        )

    def abandoned(self) -> Breaker:
        """What was sent was withdrawn and says nothing: the next one may be the trial."""
        return replace(self, on_trial=False)
