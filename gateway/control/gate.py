"""The residency gate: a new route takes effect on a replica once its adapter is there. Pure.

Until then the replica serves what it served, at the revision where that was the route, and says
that the workflow is pending. What takes an adapter out of service (a disable, a revoked adapter)
never waits; nor is a route pending whose adapter was here and got lost: that one falls back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.routing.effective import View
from gateway.routing.table import Decision, Reason, RoutingTable, Target

_ROUTED = (Reason.ROUTE, Reason.CANARY, Reason.PINNED)


@dataclass(frozen=True, slots=True)
class Pending:
    """A workflow whose new route this replica cannot serve yet."""

    workflow: str
    target: Target  # what it waits for
    since: int  # the revision that asked for it


def gated(
    served: RoutingTable,
    before: RoutingTable,
    wanted: View,
    usable: Callable[[Target], bool],
    revoked: Callable[[Target], bool],
    waiting: Mapping[str, Pending],
) -> tuple[RoutingTable, dict[str, Pending]]:
    """The table to serve now, and what of `wanted` is pending.

    `before` is what was wanted before `wanted`, `served` what was made of it. In `wanted`, a route
    whose adapter is not here goes to its fallback already, with a `why`. `usable` tells which
    targets are here and not revoked.
    """
    pending: dict[str, Pending] = {}
    kept: dict[str, Decision] = {}
    for name in sorted(wanted.faulted):
        target = wanted.table.decisions[name].route.target
        was, earlier = waiting.get(name), before.decisions.get(name)
        if was is not None and was.target == target:
            since = was.since
        elif earlier is None or earlier.route.target != target:
            since = wanted.state.revision
        else:
            continue
        if revoked(target):
            continue
        pending[name] = Pending(name, target, since)
        old = served.decisions.get(name)
        if old is not None and old.reason in _ROUTED and usable(old.target):
            kept[name] = old
    table = wanted.table
    if not kept:
        return table, pending
    return RoutingTable(table.revision, table.decisions.holding(kept)), pending
