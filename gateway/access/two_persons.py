"""The two-person rule: nobody approves the adapter that they brought in.

All keys that came from one key over the admin API count as one person: who makes a key has seen
its secret, and could otherwise register with one hand and approve with the other. Keys made on the
gateway's own machine, without a key, are each a person of their own.
"""

from __future__ import annotations

from gateway.access.values import KEY_ACTOR
from gateway.errors import KeyNotAllowed
from gateway.routing.fold import RoutingState
from gateway.routing.table import AdapterRef

_CODE = "two_person"


def check(state: RoutingState, ref: AdapterRef, digest: str, approver: str) -> None:
    """Raises KeyNotAllowed where `approver` (an event's actor) may not approve the adapter."""
    if not approver.startswith(KEY_ACTOR):
        raise KeyNotAllowed(
            f"two_person is set: {ref} is approved with an approver's key, not by {approver} "
            "without one",
            code=_CODE,
        )
    registered = state.registered.get(digest)
    if registered is None:
        raise KeyNotAllowed(
            f"two_person is set, and the log does not say who registered {ref}; register it "
            "with `gateway adapters add` under another key than the one that approves it",
            code=_CODE,
        )
    if _person(state, approver) == _person(state, registered.actor):
        hand = "" if approver == registered.actor else f" ({approver} comes from the same hand)"
        raise KeyNotAllowed(
            f"two_person is set, and {registered.actor} registered {ref}: somebody else's key has "
            f"to approve it{hand}",
            code=_CODE,
        )


def _person(state: RoutingState, actor: str) -> str:
    """The key that all began with: the actor's own, or the one that made it, and so on."""
    makers = {r.key.actor: r.created.actor for r in state.keys.values()}
    while (maker := makers.get(actor, "")).startswith(KEY_ACTOR):
        actor = maker
    return actor
