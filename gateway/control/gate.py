"""The residency gate: a new route takes effect on a replica once its adapter is there. Pure.

Until then the replica serves what it served, at the revision where that was the route, and says
that the workflow is pending; where only its canary's adapter is missing, the route's target answers
everything. What takes an adapter out of service (a disable, an abort, a revoked adapter) never
waits; nor is a route pending whose adapter was here and got lost: that one falls back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gateway.routing.effective import View
from gateway.routing.table import Decision, Reason, Route, RoutingTable, Target

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
        now = wanted.table.decisions[name]
        lacks_canary = wanted.faults.get(now.route.target) is None
        target = _named(now.route, lacks_canary)
        was, earlier = waiting.get(name), before.decisions.get(name)
        if target is None:
            continue
        if was is not None and was.target == target:
            since = was.since
        elif earlier is None or _named(earlier.route, lacks_canary) != target:
            since = wanted.state.revision
        else:
            continue
        if revoked(target):
            continue
        pending[name] = Pending(name, target, since)
        old = served.decisions.get(name)
        if lacks_canary or old is None or old.reason not in _ROUTED or not usable(old.target):
            continue
        # An old canary goes on only as far as the new table wants it.
        kept[name] = old if old.split == now.split else replace(old, split=None)
    table = wanted.table
    if not kept:
        return table, pending
    return RoutingTable(table.revision, table.decisions.holding(kept)), pending


def _named(route: Route, canary: bool) -> Target | None:
    """The adapter that answers, or that is tried as a canary."""
    if not canary:
        return route.target
    return None if route.canary is None else route.canary.target
