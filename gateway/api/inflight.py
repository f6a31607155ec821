"""The requests that are running, so that a disable or rollback can restart or end them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from gateway.engine.base import TokenStream
from gateway.errors import GatewayError
from gateway.routing.events import CanaryAborted, Event, RouteDisabled, RoutePinned
from gateway.routing.table import Decision, RoutingTable


class RouteChanged(GatewayError):
    """A stream was ended because its workflow's route was changed with --in-flight restart."""

    code = "route_changed"


@dataclass(eq=False)
class Running:
    """One request under way. `sent` once something of it reached the client."""

    workflow: str
    decision: Decision | None = None  # under which it runs
    stream: TokenStream | None = None
    sent: bool = False
    restart: bool = False
    expired: bool = False  # its time is over

    def expire(self) -> None:
        """End it: it has taken as long as a request may."""
        self.expired = True
        if self.stream is not None:
            self.stream.cancel()


@dataclass
class InFlight:
    """All running requests by workflow. Used on the event loop alone."""

    _running: dict[str, set[Running]] = field(default_factory=lambda: defaultdict(set))

    def add(self, workflow: str) -> Running:
        """A new running request."""
        running = Running(workflow)
        self._running[workflow].add(running)
        return running

    def remove(self, running: Running) -> None:
        """The request ended."""
        self._running[running.workflow].discard(running)
        if not self._running[running.workflow]:
            del self._running[running.workflow]

    @property
    def count(self) -> int:
        return sum(len(group) for group in self._running.values())

    def on_swap(self, old: RoutingTable, new: RoutingTable, event: Event) -> None:
        """Obey `in_flight: restart` of a disable, rollback or abort. What runs as the new table
        says is left alone: an order may come again, from the log after it was obeyed without it."""
        change = event.change
        if not isinstance(change, RouteDisabled | RoutePinned | CanaryAborted):
            return
        if change.in_flight != "restart":
            return
        now = new.resolve(change.workflow)
        for running in list(self._running.get(change.workflow, ())):
            if now is not None and _same(running.decision, now):
                continue
            running.restart = True
            if running.stream is not None:
                running.stream.cancel()


def _same(one: Decision | None, other: Decision) -> bool:
    """Whether both answer alike."""
    return one is not None and (one.target, one.route) == (other.target, other.route)
