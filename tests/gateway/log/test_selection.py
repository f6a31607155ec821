"""What an auditor asks for is what they get."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.access.secret import new_key
from gateway.access.values import ClientGrant
from gateway.errors import BadInput
from gateway.log.selection import Selection, iso, moment, subject
from gateway.routing.events import (
    AdapterApproved,
    Event,
    EventKind,
    KeyCreated,
    KeyRevoked,
    RouteDisabled,
    TableApplied,
)
from gateway.routing.table import BASE_TARGET, AdapterRef, Route

EVENTS = [
    Event(1, TableApplied((Route("triage", BASE_TARGET),), "routes.yaml", "d"), "file", "", 10.0),
    Event(2, RouteDisabled("triage"), "key:ops", "wrong", 20.0),
    Event(3, RouteDisabled("facts"), "ada", "", 30.0),
    Event(4, AdapterApproved(AdapterRef("a", "1"), "d"), "key:ops", "", 40.0),
    Event(5, KeyCreated(new_key("app", ClientGrant())[0]), "ada", "", 50.0),
    Event(6, KeyRevoked("id", "app"), "ada", "", 60.0),
]


@pytest.mark.parametrize(
    ("selection", "revisions"),
    [
        (Selection(), [1, 2, 3, 4, 5, 6]),
        (Selection(workflow="triage"), [1, 2]),
        (Selection(actor="key:ops"), [2, 4]),
        (Selection(kind=EventKind.ROUTE_DISABLED), [2, 3]),
        (Selection(since=30, until=50), [3, 4]),
        (Selection(workflow="triage", actor="file"), [1]),
    ],
)
def test_a_selection_takes_what_it_names(selection: Selection, revisions: list[int]) -> None:
    assert [event.revision for event in EVENTS if selection.takes(event)] == revisions


def test_every_event_has_a_subject() -> None:
    assert [subject(event) for event in EVENTS] == [
        "routes.yaml",
        "triage",
        "facts",
        "a@1",
        "app",
        "app",
    ]


def test_times_are_iso_or_so_long_ago() -> None:
    assert moment("90m", 10_000) == 10_000 - 5400
    assert moment("1970-01-02T00:00:00+00:00", 0) == 86_400
    assert moment("2026-11-25", 0) == datetime(2026, 11, 25).astimezone().timestamp()
    assert datetime.fromisoformat(iso(1.5)) == datetime.fromtimestamp(1.5, UTC)
    for wrong in ("yesterday", "", "9y", "2026-13-01"):
        with pytest.raises(BadInput, match="30m, 24h, 7d"):
            moment(wrong, 0)
