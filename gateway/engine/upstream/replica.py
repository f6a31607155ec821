"""One server as the engine sees it: load, circuit, what it holds. Written by the engine's loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.engine.base import GenerationRequest, ServerReading
from gateway.engine.upstream.breaker import Breaker, Circuit
from gateway.engine.upstream.faults import BAD, Fault
from gateway.engine.upstream.holdings import Holdings
from gateway.engine.upstream.server import Server


@dataclass(eq=False)
class Work:
    """One request on one server."""

    tokens: int  # still outstanding: of its prompt until the first answer, and to be generated
    choices: int
    background: bool = False
    # While it may be sent elsewhere: until the first token, and background work to its end.
    wait: asyncio.Timeout | None = None
    ejected: Fault | None = None  # why it is to leave

    def send_away(self, why: Fault) -> None:
        """Have it leave the server, if it still may."""
        if self.wait is not None and not self.wait.expired() and self.ejected is None:
            self.ejected = why
            self.wait.reschedule(asyncio.get_running_loop().time())


@dataclass(eq=False)
class Replica:
    """One server."""

    server: Server
    holdings: Holdings
    most: int  # choices at a time
    breaker: Breaker
    freed: asyncio.Event = field(default_factory=asyncio.Event)  # set when a request ended here
    load: int = 0  # outstanding tokens; these two without background work
    choices: int = 0
    well: bool = True  # the last checks say so
    failed_checks: int = 0  # in a row
    faults: Counter[Fault] = field(default_factory=Counter)
    check_now: asyncio.Event = field(default_factory=asyncio.Event)
    works: set[Work] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.server.url

    def in_service(self, now: float) -> bool:
        """Whether it gets requests, if perhaps one at a time."""
        return self.well and self.breaker.circuit(now) is not Circuit.OPEN

    def usable(self, now: float) -> bool:
        """Whether it may get a request now."""
        return self.well and self.breaker.allows(now)

    def has_room(self, choices: int) -> bool:
        """Whether it may get one of so many choices more."""
        return self.choices + choices <= self.most

    @property
    def idle(self) -> bool:
        """Whether this gateway has nothing there, of whatever kind."""
        return not self.works

    @contextmanager
    def working(self, request: GenerationRequest, now: float) -> Iterator[Work]:
        """Count a request in, and out again."""
        tokens = len(request.prompt) + request.n * request.sampling.max_tokens
        work = Work(tokens, request.n, request.background)
        if not work.background:
            self.load += work.tokens
            self.choices += work.choices
            for other in self.works:
                if other.background:
                    other.send_away(Fault.PREEMPTED)
        self.works.add(work)
        self.breaker = self.breaker.sent(now)
        try:
            yield work
        finally:
            self.works.discard(work)
            if not work.background:
                self.load -= work.tokens
                self.choices -= work.choices
            self.freed.set()

    def progressed(self, work: Work, tokens: int) -> None:
        """So many of the tokens of `work` are no longer outstanding."""
        fewer = 0 if work.background else min(work.tokens, tokens)
        work.tokens -= fewer
        self.load -= fewer

    def succeeded(self, now: float) -> None:
        """It did what a request asked."""
        self.breaker = self.breaker.succeeded(now)

    def failed(self, fault: Fault, now: float) -> None:
        """It did not."""
        if fault is not Fault.PREEMPTED:
            self.faults[fault] += 1
        if fault not in BAD:
            self.breaker = self.breaker.abandoned()
            return
        self.breaker = self.breaker.failed(now)
        self.check_now.set()
        if self.breaker.circuit(now) is Circuit.OPEN:
            self.eject()

    def abandoned(self) -> None:
        """A request left before anything could be said of the server."""
        self.breaker = self.breaker.abandoned()

    def checked(self, *, well: bool, at_most: int) -> None:
        """A health check came out. After `at_most` failures in a row it gets no requests."""
        if well:
            self.failed_checks, self.well = 0, True
            self.freed.set()
            return
        self.failed_checks += 1
        if self.failed_checks >= at_most and self.well:
            self.well = False
            self.eject()

    def eject(self) -> None:
        """Have those that still wait for their first token go elsewhere; what streams goes on."""
        for work in self.works:
            work.send_away(Fault.EJECTED)

    def reading(self, now: float) -> ServerReading:
        """For metrics and status."""
        return ServerReading(
            name=self.name,
            circuit=self.breaker.circuit(now).value if self.well else "unwell",
            choices=self.choices,
            tokens=self.load,
            adapters=len(self.holdings.digests),
            faults={fault.value: count for fault, count in sorted(self.faults.items())},
        )
