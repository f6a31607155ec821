"""The chain finds every edit of the past, and logs begun before it still read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.log.record import Record, from_line, hash_of, sealed, to_line, verify
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import Draft, RouteDisabled, RouteEnabled


def chain(count: int) -> list[Record]:
    records: list[Record] = []
    for n in range(count):
        draft = Draft(RouteDisabled(f"w{n}"), "ada", "why", 1.0 + n, "gw-1/127.0.0.1")
        records.append(sealed(draft, n + 1, records[-1].hash if records else ""))
    return records


Edit = Callable[[list[Record]], list[Record]]
EDITS: dict[str, Edit] = {
    "actor": lambda r: [*r[:2], replace(r[2], actor="eve"), *r[3:]],
    "reason": lambda r: [*r[:2], replace(r[2], reason=""), *r[3:]],
    "time": lambda r: [*r[:2], replace(r[2], at=r[2].at + 1e-6), *r[3:]],
    "origin": lambda r: [*r[:2], replace(r[2], origin="elsewhere"), *r[3:]],
    "change": lambda r: [*r[:2], replace(r[2], change=r[0].change), *r[3:]],
    "hash": lambda r: [*r[:2], replace(r[2], hash="0" * 64), *r[3:]],
    "hash taken away": lambda r: [*r[:2], replace(r[2], hash=""), *r[3:]],
    "row taken away": lambda r: [*r[:2], *r[3:]],
    "rows swapped": lambda r: [*r[:2], r[3], r[2], *r[4:]],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_of_the_past_is_found_at_its_revision(edit: Edit) -> None:
    assert verify(chain(6)) is None
    assert verify(edit(chain(6))) == 3


def test_an_edit_with_its_own_hash_made_good_is_found_one_later() -> None:
    records = chain(6)
    forged = replace(records[2], actor="eve")
    records[2] = replace(forged, hash=hash_of(forged, records[1].hash))
    assert verify(records) == 4


def test_hashes_taken_away_from_the_start_do_not_hide_an_edit() -> None:
    records = [replace(record, hash="") for record in chain(6)[:3]] + chain(6)[3:]
    assert verify(records) == 4


def test_a_part_is_verified_against_the_record_before_it() -> None:
    records = chain(6)
    assert verify(records[3:], previous=records[2]) is None
    assert verify(records[4:], previous=records[2]) == 4


@given(st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_a_record_comes_back_from_its_line_with_its_hash(
    actor: str, reason: str, at: float, origin: str
) -> None:
    record = sealed(Draft(RouteEnabled("w"), actor, reason, at, origin), 1, "")
    assert from_line(to_line(record)) == record
    assert verify([from_line(to_line(record))]) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"revision": 1}', "7"])
def test_what_is_no_record_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_line(text)


def test_an_sqlite_log_keeps_a_chain_that_verifies(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log")
    for n in range(3):
        log.append(Draft(RouteDisabled("w"), "ada", "é", 1, "gw"), expected=n)
    assert verify(log.records()) is None
    assert [e.hash for e in log.read()] == [r.hash for r in log.records()]


OLD_SCHEMA = """
CREATE TABLE events (revision INTEGER PRIMARY KEY, change TEXT NOT NULL, actor TEXT NOT NULL,
    reason TEXT NOT NULL, at REAL NOT NULL) STRICT;
INSERT INTO events VALUES
    (1, '{"v": 1, "workflow": "w", "in_flight": "finish", "kind": "route_disabled"}',
     'ann', 'why', 5.0);
PRAGMA user_version = 1;
"""


def test_a_log_begun_before_the_chain_reads_and_its_chain_starts_where_it_starts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD_SCHEMA)
    log = SqliteLog(path)
    log.append(Draft(RouteEnabled("w"), "bob", "", 6.0, "gw"), expected=1)
    old, new = log.read()
    assert (old.actor, old.origin, old.hash) == ("ann", "", "")
    assert new.hash
    assert verify(log.records()) is None
    log.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET actor = 'eve' WHERE revision = 2")
    assert verify(SqliteLog(path).records()) == 2
