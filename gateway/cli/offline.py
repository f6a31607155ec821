"""Commands straight to the log while the gateway is down, so that the next start obeys."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from gateway.cli.client import Unreachable
from gateway.errors import RevisionConflict
from gateway.log.base import RevisionLog
from gateway.log.location import FolderLocation, parse_location
from gateway.log.opening import open_log
from gateway.log.record import Record
from gateway.log.sqlite import FILE_NAME
from gateway.routing.assignment import BUCKETS
from gateway.routing.effective import effective
from gateway.routing.events import Change, Draft, Event
from gateway.routing.fold import RoutingState, fold, fold_all
from gateway.routing.table import Decision

Decide = Callable[[RoutingState, Sequence[Event]], Change]


def append(
    where: str,
    decide: Decide,
    workflow: str,
    actor: str,
    reason: str,
    expected: int | None = None,
) -> dict[str, Any]:
    """Decide on the log's state and append. Returns what the admin API answers to a command, and
    `offline`. Raises as `commit`."""
    event, state = commit(where, decide, actor, reason, expected)
    before, after = effective(state), effective(fold(state, event))
    old, new = before.resolve(workflow), after.resolve(workflow)
    change = {"workflow": workflow, "before": _shown(old), "after": _shown(new)}
    return {
        "revision": event.revision,
        "offline": True,
        "changes": [] if change["before"] == change["after"] else [change],
    }


def commit(
    where: str, decide: Decide, actor: str, reason: str, expected: int | None = None
) -> tuple[Event, RoutingState]:
    """Append what `decide` makes of the log. Returns the event and the state before it.

    Raises GatewayError as the running gateway would, and Unreachable where there is no log: a
    wrong folder must not become a new, empty one that no gateway reads."""
    log = _open(where)
    try:
        events = list(log.read())
        state = fold_all(events)
        if expected is not None and expected != state.revision:
            mover = events[-1].actor if events else None
            raise RevisionConflict(
                f"the log is at revision {state.revision}, moved by {mover}; "
                f"this was decided on revision {expected}",
                expected=expected,
                actual=state.revision,
                actor=mover,
            )
        draft = Draft(decide(state, events), actor, reason, time.time(), _origin())
        return log.append(draft, expected=state.revision), state
    finally:
        log.close()


def state_of(where: str) -> RoutingState:
    """The state that the log says. Raises as `commit`."""
    log = _open(where)
    try:
        return fold_all(log.read())
    finally:
        log.close()


def records(where: str, after: int, limit: int) -> list[Record]:
    """At most `limit` records after a revision, as they are stored. Raises as `commit`."""
    log = _open(where)
    try:
        return list(log.records(after=after, limit=limit))
    finally:
        log.close()


def shown(where: str) -> str:
    """Where the log is, without a password."""
    return str(parse_location(where))


def _open(where: str) -> RevisionLog:
    location = parse_location(where)
    if isinstance(location, FolderLocation):
        path = location.path / FILE_NAME
        if not path.is_file():
            raise Unreachable(
                f"no gateway answers, and there is no log at {path} (--state names its folder)"
            )
    return open_log(location)


def _shown(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    split = None
    if decision.split is not None:
        share = decision.split.buckets * 100 / BUCKETS
        split = {"target": str(decision.split.target), "share": share}
    return {"target": str(decision.target), "reason": decision.reason, "split": split}


def _origin() -> str:
    return f"cli/{socket.gethostname()}"
