"""Who a canary's share holds: the same person always, as many as it says, and ever more."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.assignment import BUCKETS, CanaryPlan, bucket, buckets_of, seed
from gateway.routing.effective import effective
from gateway.routing.events import Event, TableApplied
from gateway.routing.fold import fold_all
from gateway.routing.table import (
    AdapterRef,
    Canary,
    Decision,
    Reason,
    Route,
    RoutingTable,
    Target,
)

CONTROL, TRIED, OTHER = (Target(AdapterRef("a", str(n)), f"digest{n}") for n in (1, 2, 3))
KEYS = [f"user-{n}" for n in range(20_000)]
shares = st.floats(0.01, 100)


def table(share: float, tried: Target = TRIED, key: str = "user") -> RoutingTable:
    route = Route("w", CONTROL, canary=Canary(tried, CanaryPlan((share,), key=key)))
    return effective(fold_all([Event(1, TableApplied((route,), "f", "d"), "ann", "", 0.0)]))


def arm(table: RoutingTable, person: str) -> Decision:
    found = table.resolve("w", lambda _: person)
    assert found is not None
    return found


def held(table: RoutingTable) -> set[str]:
    return {key for key in KEYS if arm(table, key).reason is Reason.CANARY}


@given(st.text(max_size=30), shares)
def test_one_person_always_gets_one_model(person: str, share: float) -> None:
    one, again = arm(table(share), person), arm(table(share), person)
    assert one == again
    assert (one.target, one.reason) in (
        (CONTROL, Reason.ROUTE),
        (TRIED, Reason.CANARY),
    )


@given(st.text(max_size=30), shares, shares)
def test_a_larger_share_sends_nobody_back(person: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if arm(table(small), person).reason is Reason.CANARY:
        assert arm(table(large), person).reason is Reason.CANARY


@pytest.mark.parametrize("share", [0.01, 1, 5, 25, 50, 99.99, 100])
def test_a_share_holds_as_many_as_it_says(share: float) -> None:
    expected = len(KEYS) * share / 100
    spread = 4 * math.sqrt(len(KEYS) * share / 100 * (1 - share / 100))  # four sigma
    assert abs(len(held(table(share))) - expected) <= spread


def test_another_adapter_is_tried_on_other_people() -> None:
    one, other = held(table(10)), held(table(10, OTHER))
    assert abs(len(one & other) - len(KEYS) * 0.01) <= 4 * math.sqrt(len(KEYS) * 0.01)


def test_the_buckets_are_even() -> None:
    counts = [0] * 10
    for key in KEYS:
        counts[bucket(seed("w", "digest"), key) * 10 // BUCKETS] += 1
    expected = len(KEYS) / 10
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_square < 27.9  # 9 degrees of freedom, one in a thousand


def test_the_buckets_are_the_same_in_every_release() -> None:
    """Persons would change their model at an upgrade."""
    keys = ("", "ann", "é\ud800")
    assert [bucket(seed("w", "digest"), key) for key in keys] == [1851, 8741, 4566]


@given(shares)
def test_the_least_share_holds_a_bucket_and_the_whole_holds_all(share: float) -> None:
    assert 1 <= buckets_of(share) <= BUCKETS
    assert buckets_of(100) == BUCKETS


def test_the_key_is_asked_for_by_the_name_that_the_route_gives_and_only_then() -> None:
    asked: list[str] = []

    def key(name: str) -> str:
        asked.append(name)
        return "ann"

    table(5, key="x-customer").resolve("w", key)
    assert asked == ["x-customer"]
    applied = TableApplied((Route("w", CONTROL),), "f", "d")
    effective(fold_all([Event(1, applied, "", "", 0.0)])).resolve("w", key)
    assert asked == ["x-customer"]


def test_without_a_key_the_control_arm_is_told() -> None:
    found = table(100).resolve("w")
    assert found is not None
    assert found.target == CONTROL
