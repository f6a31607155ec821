"""Which target a request goes to next, where the one it went to failed it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from gateway.routing.table import BASE_TARGET, Decision, ErrorClass, Reason, Target


def next_decision(
    decision: Decision,
    failed: Collection[Target],
    error: ErrorClass,
    usable: Callable[[Target], bool],
) -> Decision | None:
    """The decision for the next attempt, or None where the route wants none or nothing is left:
    the route's target, its fallback, the base model, each at most once.

    `failed` are the targets that were tried, this decision's among them. The route's own target is
    never gone back to: what it was left for may be an operator's order.
    """
    route = decision.route
    if error not in route.on_error:
        return None
    for target in (route.fallback, BASE_TARGET):
        if target != route.target and target not in failed and usable(target):
            why = f"{decision.target} failed the request ({error})"
            return replace(decision, target=target, reason=Reason.FALLBACK, why=why)
    return None
