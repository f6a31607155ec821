"""The view at every size: nothing is wider than the screen, and what is urgent comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gateway.view.draw import LEAST_WIDTH, draw
from gateway.view.overview import Overview, Progress, ReplicaLine, RouteLine, TripLine
from gateway.view.readings import Rates

BUSY = Rates(12.345, 0.5, 1234.5, 0.05, 0.25)
TRIAGE = RouteLine("triage", "triage@1", "route", "", BUSY, Progress("labels", 0.34, False, 120))
NOTES = RouteLine("notes", "base", "route", "", Rates(0, 0, 0, None, None), None)
OFF = RouteLine(
    "off", "base", "disabled", "disabled by ada: wrong", None, Progress("empty", 1, True, 9)
)
SEEN = Overview(
    at=0.0,
    version="1.2",
    revision=7,
    engine="tiny on cpu",
    rows=(1, 4),
    queue=(0, 8),
    slots=(1, 2),
    problems=(),
    routes=(TRIAGE, NOTES),
    trips=(),
    replicas=(ReplicaLine("a", True, 0.1, 7, 0),),
)


def text(seen: Overview, width: int = 100, height: int | None = None) -> list[str]:
    return [line.plain for line in draw(seen, width, height)]


def test_a_route_is_one_line_with_its_target_rates_and_way_to_a_trip() -> None:
    lines = text(SEEN)
    assert lines[0].startswith("gateway 1.2  revision 7  tiny on cpu")
    assert lines[1] == "rows 1/4  queue 0/8  adapters 1/2  replicas 1 live"
    (triage,) = [line for line in lines if line.startswith("triage")]
    said = ["triage", "triage@1", "route", "12.3", "0.50", "0.25", "1234", "34%", "labels"]
    assert triage.split() == said
    (narrow,) = [line for line in text(SEEN, 80) if line.startswith("triage")]
    assert narrow.split() == [*said[:6], *said[7:]]  # the tokens have no room
    (notes,) = [line for line in lines if line.startswith("notes")]
    assert notes.split() == ["notes", "base", "route", "0.00", "0.00", "-", "0.00", "-"]


def test_of_a_long_target_the_version_stays_to_be_read() -> None:
    long = replace(TRIAGE, workflow="a" * 40, target=f"{'b' * 60}@v12")
    (line,) = [each for each in text(replace(SEEN, routes=(long,)), 80) if each.startswith("aaa")]
    assert "b…@v12 route" in line


def test_what_a_person_or_the_guard_did_is_told_below_the_route() -> None:
    lines = text(replace(SEEN, routes=(OFF,)))
    at = next(n for n, line in enumerate(lines) if line.startswith("off"))
    assert "TRIPPED empty" in lines[at]
    assert lines[at + 1] == "  disabled by ada: wrong"


def test_trips_problems_and_a_fleet_are_shown_where_there_are_some() -> None:
    trip = TripLine(0.0, "off", "off@2", "disable", "empty: 9 of 9 answers are bad")
    fleet = (
        ReplicaLine("a", True, 0.1, 7, 0),
        ReplicaLine("b", True, 0.1, 5, 2),
        ReplicaLine("c", False, 60.0, 4, 0),
    )
    lines = text(replace(SEEN, problems=("the log is AWAY",), trips=(trip,), replicas=fleet), 100)
    assert "! the log is AWAY" in lines
    assert any("disable off" in line for line in lines)
    assert "  off@2: empty: 9 of 9 answers are bad" in lines
    assert "b  live, revision 5, 2 behind, 2 routes pending" in lines
    assert "c  LOST, heard of 60 s ago, revision 4, 3 behind" in lines


def test_of_many_routes_as_many_as_fit_are_shown_and_the_others_counted() -> None:
    many = tuple(replace(NOTES, workflow=f"w{n}") for n in range(100))
    lines = text(replace(SEEN, routes=many), height=20)
    assert len(lines) <= 20
    shown = sum(line.startswith("w") and "notes" not in line for line in lines) - 1  # the heading
    assert lines[-1] == f"and {100 - shown} more workflows"


words = st.text(max_size=90)


@given(words, words, words, st.integers(1, 200), st.integers(5, 60))
def test_no_line_is_wider_than_the_screen(
    name: str, target: str, note: str, width: int, height: int
) -> None:
    route = replace(TRIAGE, workflow=name, target=target, note=note)
    seen = replace(SEEN, routes=(route, NOTES), problems=(note,))
    for line in draw(seen, width, height):
        assert cell_len(line.plain) <= max(width, LEAST_WIDTH)
        assert line.plain.isprintable()


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0.00"), (9.99, "9.99"), (42.4, "42.4"), (999.0, "999"), (25e3, "25k")],
)
def test_numbers_are_short(value: float, said: str) -> None:
    busy = replace(TRIAGE, rates=Rates(value, 0, 0, None, None))
    (line,) = [line for line in text(replace(SEEN, routes=(busy,))) if line.startswith("triage")]
    assert line.split()[3] == said
