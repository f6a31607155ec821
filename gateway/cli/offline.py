"""Commands straight to the log while the gateway is down, so that the next start obeys."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.log.sqlite import FILE_NAME, SqliteLog
from gateway.routing.events import Change, Draft, Event
from gateway.routing.fold import RoutingState, effective, fold, fold_all
from gateway.routing.table import Decision

Decide = Callable[[RoutingState, Sequence[Event]], Change]


def append(
    state_dir: Path, decide: Decide, workflow: str, actor: str, reason: str
) -> tuple[Event, Decision | None, Decision | None]:
    """Decide on the log's state and append. Returns the event and the workflow's decision before
    and after. Raises GatewayError as the running gateway would."""
    log = SqliteLog(state_dir / FILE_NAME)
    try:
        events = list(log.read())
        state = fold_all(events)
        draft = Draft(decide(state, events), actor, reason, time.time())
        event = log.append(draft, expected=state.revision)
        before, after = effective(state), effective(fold(state, event))
        return event, before.resolve(workflow), after.resolve(workflow)
    finally:
        log.close()
