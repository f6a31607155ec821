"""Events survive the trip through JSON unchanged, and nothing else gets in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.values import ClientGrant, Key, OperatorGrant, Role
from gateway.registry.values import GateVerdict
from gateway.routing.assignment import CanaryPlan
from gateway.routing.codec import decode_change, decode_state, encode_change, encode_state
from gateway.routing.events import (
    AdapterApproved,
    AdapterRevoked,
    CanaryAborted,
    CanaryPromoted,
    CanaryRestarted,
    CanaryStepped,
    Change,
    Event,
    KeyCreated,
    KeyRevoked,
    RouteDisabled,
    RouteEnabled,
    RoutePinned,
    RouteResumed,
    TableApplied,
    TableEdited,
)
from gateway.routing.fold import RoutingState, fold_all
from gateway.routing.table import BASE_TARGET, AdapterRef, Canary, Route, Target

names = st.sampled_from(["a", "ticket-triage", "x.y_z"])
refs = st.builds(AdapterRef, names, st.sampled_from(["1", "2.0"]))
targets = st.one_of(st.just(BASE_TARGET), st.builds(Target, refs, st.just("d" * 64)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
shares = st.floats(0.01, 100)
plans = st.builds(
    CanaryPlan,
    st.lists(shares, min_size=1, max_size=3).map(tuple),
    st.none() | st.floats(1, 1e6),
    st.sampled_from(["user", "x-customer"]),
    st.integers(1, 999),
)
canaries = st.builds(Canary, targets, plans)
routes = st.builds(
    Route,
    names,
    targets,
    targets,
    st.text(max_size=5),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 9),
    st.none() | st.floats(0, 2),
    st.none() | st.dictionaries(st.text(max_size=3), json_values, max_size=2),
    canary=st.none() | canaries,
)
counts = st.none() | st.integers(1, 9)
grants = st.builds(OperatorGrant, st.sampled_from(Role)) | st.builds(
    ClientGrant, st.lists(names, max_size=2).map(tuple), counts, counts, counts
)
in_flight = st.sampled_from(["finish", "restart"])
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        TableApplied,
        st.lists(routes, max_size=3).map(tuple),
        st.text(max_size=4),
        st.just("e" * 64),
    ),
    st.builds(
        TableEdited,
        st.lists(routes, max_size=3).map(tuple),
        st.lists(names, max_size=2).map(tuple),
        st.text(max_size=4),
        st.just("e" * 64),
    ),
    st.builds(RouteDisabled, names, in_flight),
    st.builds(RouteEnabled, names),
    st.builds(RoutePinned, names, st.integers(1, 99), routes, in_flight),
    st.builds(RouteResumed, names),
    st.builds(CanaryStepped, names, targets, st.integers(0, 9), shares),
    st.builds(CanaryPromoted, names, targets),
    st.builds(CanaryAborted, names, targets, in_flight),
    st.builds(CanaryRestarted, names, targets),
    st.builds(
        AdapterApproved,
        refs,
        st.just("f" * 64),
        st.booleans(),
        st.none() | st.sampled_from(GateVerdict),
    ),
    st.builds(AdapterRevoked, refs, st.just("f" * 64)),
    st.builds(KeyCreated, st.builds(Key, names, names, st.just("a" * 64), grants)),
    st.builds(KeyRevoked, names, names),
)


@given(changes)
def test_every_change_comes_back_equal_and_of_its_type(change: Change) -> None:
    back = decode_change(encode_change(change))
    assert back == change
    assert type(back) is type(change)
    assert back.kind is change.kind


@pytest.mark.parametrize(
    "edit",
    [
        {"v": 2},
        {"v": None},
        {"kind": "route_exploded"},
        {"kind": None},
        {"workflow": 7},
        {"in_flight": "maybe"},
        {"surprise": 1},
    ],
    ids=str,
)
def test_what_this_version_does_not_know_is_refused(edit: dict[str, object]) -> None:
    fields = json.loads(encode_change(RouteDisabled("w"))) | edit
    with pytest.raises(ValueError, match=r".+"):
        decode_change(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{}"])
def test_what_is_no_event_is_refused_as_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_change(text)


def test_an_approval_older_than_the_gate_is_still_read() -> None:
    stored = (
        '{"v": 1, "ref": {"name": "a", "version": "1"}, "digest": "d", "kind": "adapter_approved"}'
    )
    assert decode_change(stored) == AdapterApproved(AdapterRef("a", "1"), "d", False, None)


@given(st.lists(changes, max_size=6))
def test_every_state_comes_back_equal(history: list[Change]) -> None:
    events = [Event(n, change, "ada", "why", 1.5) for n, change in enumerate(history, 1)]
    state = fold_all(events)
    assert decode_state(encode_state(state)) == state


@pytest.mark.parametrize("edit", [{"v": 2}, {"surprise": 1}, {"revision": "one"}], ids=str)
def test_a_state_of_another_version_is_refused(edit: dict[str, object]) -> None:
    stated = json.loads(encode_state(RoutingState(1))) | edit
    with pytest.raises(ValueError, match=r".+"):
        decode_state(json.dumps(stated))


def test_a_state_that_lacks_a_field_is_refused() -> None:
    stated = json.loads(encode_state(RoutingState(1)))
    del stated["keys"]
    with pytest.raises(ValueError, match="another version"):
        decode_state(json.dumps(stated))
