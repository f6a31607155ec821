"""Which records of a log an auditor asks for: by workflow, actor, kind and time. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import BadInput
from gateway.routing.events import (
    AdapterApproved,
    AdapterRegistered,
    AdapterRevoked,
    Event,
    EventKind,
    KeyCreated,
    KeyRevoked,
    TableApplied,
    TableEdited,
)

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Selection:
    """None: everything. `actor` is an operator's name, key:NAME, file or guard; times are seconds
    since the epoch, `since` included and `until` not."""

    workflow: str | None = None
    actor: str | None = None
    kind: EventKind | None = None
    since: float | None = None
    until: float | None = None

    def takes(self, event: Event) -> bool:
        """Whether the event is asked for. A table concerns every workflow it names, an
        edited one those that it changed."""
        return (
            (self.workflow is None or self.workflow in _workflows(event))
            and (self.actor is None or self.actor == event.actor)
            and (self.kind is None or self.kind is event.change.kind)
            and (self.since is None or event.at >= self.since)
            and (self.until is None or event.at < self.until)
        )


def subject(event: Event) -> str:
    """What an event is about, in a word: a workflow, an adapter, a key, or a table's source."""
    match event.change:
        case TableApplied(source=source) | TableEdited(source=source):
            return source
        case AdapterRegistered(ref=ref) | AdapterApproved(ref=ref) | AdapterRevoked(ref=ref):
            return str(ref)
        case KeyCreated(key=key):
            return key.name
        case KeyRevoked(name=name):
            return name
        case change:
            return change.workflow


def moment(text: str, now: float) -> float:
    """Seconds since the epoch of an ISO 8601 time (local where it names no zone) or of so long
    ago as `30m`, `24h`, `7d`. Raises BadInput naming both forms."""
    if (ago := _AGO.fullmatch(text)) is not None:
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise BadInput(
            f"{text!r} is no time; write one as 2026-11-25T14:00, or how long ago as 30m, 24h, 7d"
        ) from None


def iso(at: float) -> str:
    """The time in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _workflows(event: Event) -> set[str]:
    if isinstance(event.change, TableApplied):
        return {route.workflow for route in event.change.routes}
    if isinstance(event.change, TableEdited):
        return {*event.change.removed, *(route.workflow for route in event.change.routes)}
    workflow = getattr(event.change, "workflow", None)
    return set() if workflow is None else {workflow}
