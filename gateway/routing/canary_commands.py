"""What may be asked for a canary: decided on the state alone, a change or the reason why not."""

from __future__ import annotations

from gateway.errors import NotAllowed
from gateway.registry.values import AdapterState
from gateway.routing.canary import CanaryProgress, Phase
from gateway.routing.commands import require_workflow
from gateway.routing.events import CanaryAborted, CanaryPromoted, CanaryStepped, InFlight
from gateway.routing.fold import RoutingState, canary_of, hand_on


def promote(
    state: RoutingState, workflow: str, *, whole: bool = False, judged: int | None = None
) -> CanaryStepped | CanaryPromoted:
    """Move a canary on by one step, or to everything at once (`whole`).

    `judged` is the revision at which the step began that the caller found good: of several who
    found so, one moves it. Raises NotFound, NotAllowed.
    """
    progress = _canary(state, workflow)
    target, since = progress.canary.target, progress.since
    if progress.phase is Phase.PROMOTED:
        raise NotAllowed(
            f"{target} answers every request of {workflow} already, by {since.actor} at revision "
            f"{since.revision}; make it the target in routes.yaml"
        )
    if progress.phase is Phase.ABORTED:
        raise NotAllowed(
            f"{target} was aborted for {workflow} by {since.actor} at revision {since.revision}; "
            f"`gateway resume {workflow}` begins it again"
        )
    hand = hand_on(state, workflow)
    if hand.disabled is not None:
        raise NotAllowed(f"{workflow} is disabled; enable it before its canary is promoted")
    if hand.pinned is not None:
        raise NotAllowed(f"{workflow} is pinned; resume it before its canary is promoted")
    if state.verdicts.get(target.digest or "") is AdapterState.REVOKED:
        raise NotAllowed(f"{target} is revoked; name another canary for {workflow}")
    if judged is not None and judged != since.revision:
        raise NotAllowed(f"the canary of {workflow} was moved already, by {since.actor}")
    return progress.moved_on(workflow, whole=whole)


def abort(state: RoutingState, workflow: str, in_flight: InFlight) -> CanaryAborted:
    """Take every request from a canary; the route's target answers them. Raises NotFound,
    NotAllowed."""
    progress = _canary(state, workflow)
    target, since = progress.canary.target, progress.since
    if progress.phase is Phase.ABORTED:
        raise NotAllowed(
            f"{target} was aborted for {workflow} already, by {since.actor} at revision "
            f"{since.revision}"
        )
    return CanaryAborted(workflow, target, in_flight)


def _canary(state: RoutingState, workflow: str) -> CanaryProgress:
    require_workflow(state, workflow)
    progress = canary_of(state, workflow)
    if progress is None:
        raise NotAllowed(f"{workflow} has no canary; routes.yaml gives it one")
    return progress
