"""Which running requests an order to restart concerns."""

from __future__ import annotations

from gateway.api.inflight import InFlight
from gateway.routing.events import Event, RouteDisabled
from gateway.routing.table import (
    BASE_TARGET,
    AdapterRef,
    Decision,
    Decisions,
    Reason,
    Route,
    RoutingTable,
    Target,
)

ADAPTER = Target(AdapterRef("a", "1"), "0" * 64)
ROUTE = Route("w", ADAPTER)
BEFORE = Decision("w", ADAPTER, Reason.ROUTE, 1, ROUTE)
AFTER = Decision("w", BASE_TARGET, Reason.DISABLED, 2, ROUTE)
DISABLED = Event(2, RouteDisabled("w", "restart"), "ada", "", 1.0)


def table(decision: Decision) -> RoutingTable:
    return RoutingTable(decision.revision, Decisions({"w": decision}, decision.revision))


def test_an_order_to_restart_concerns_what_runs_on_the_old_target_alone() -> None:
    """A replica that obeyed without the log gets the same order from it later."""
    running = InFlight()
    old, new = running.add("w"), running.add("w")
    old.decision, new.decision = BEFORE, AFTER
    running.on_swap(table(BEFORE), table(AFTER), DISABLED)
    assert (old.restart, new.restart) == (True, False)
