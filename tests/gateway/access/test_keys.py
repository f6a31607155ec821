"""Keys: made once, found by their text alone, revoked for ever, and never used twice."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.access import commands
from gateway.access.keyring import Client, KeyRing, Operator, matches
from gateway.access.secret import digest_of, new_key
from gateway.access.values import ClientGrant, Grant, Key, OperatorGrant, Role
from gateway.errors import BadInput, NotAllowed, NotFound
from gateway.routing.codec import encode_change
from gateway.routing.events import Change, Event, KeyRevoked
from gateway.routing.fold import RoutingState, fold

ANY = ClientGrant()
VIEWER = OperatorGrant(Role.VIEWER)


def after(state: RoutingState, change: Change) -> RoutingState:
    return fold(state, Event(state.revision + 1, change, "ann", "why", 5.0))


def with_key(name: str = "app", grant: Grant = ANY) -> tuple[RoutingState, Key, str]:
    key, text = new_key(name, grant)
    return after(RoutingState(), commands.create(RoutingState(), key)), key, text


@pytest.mark.parametrize("grant", [ANY, VIEWER])
def test_a_key_is_found_by_its_whole_text_and_by_nothing_else(grant: Grant) -> None:
    state, key, text = with_key(grant=grant)
    ring = KeyRing.of(state.keys)
    found = ring.find(text)
    assert isinstance(found, Client if grant is ANY else Operator)
    assert found.key == key
    assert ring.find(text[:-1]) is None
    assert ring.find(key.digest) is None
    assert ring.find("") is None
    assert ring.find("\udcff") is None  # a header's stray byte


def test_the_log_never_holds_the_secret() -> None:
    state, key, text = with_key()
    secret = text.rsplit("_", 1)[1]
    assert secret not in encode_change(commands.create(RoutingState(), key))
    assert secret not in repr(state)
    assert key.digest == digest_of(text)


def test_a_revoked_key_opens_nothing_and_leaves_the_door_shut() -> None:
    state, key, text = with_key()
    state = after(state, commands.revoke(state, key.name))
    ring = KeyRing.of(state.keys)
    assert ring.find(text) is None
    assert ring.clients_known
    assert not ring.operators_known
    revoked = state.keys[key.id].revoked
    assert revoked is not None
    assert (revoked.actor, revoked.reason, revoked.revision) == ("ann", "why", 2)


def test_names_are_not_used_twice_even_after_a_revocation() -> None:
    state, key, _ = with_key("app")
    with pytest.raises(NotAllowed, match=f"in use.*{key.id}"):
        commands.create(state, new_key("app", VIEWER)[0])
    state = after(state, commands.revoke(state, key.id))
    with pytest.raises(NotAllowed, match="revoked"):
        commands.create(state, new_key("app", ANY)[0])


def test_a_key_is_revoked_once_and_only_if_it_exists() -> None:
    state, _, _ = with_key("mobile-app")
    with pytest.raises(NotFound, match="mobile-app"):
        commands.revoke(state, "mobil-app")
    state = after(state, commands.revoke(state, "mobile-app"))
    with pytest.raises(NotAllowed, match="ann at revision 2"):
        commands.revoke(state, "mobile-app")


def test_revoking_what_the_log_never_made_changes_nothing() -> None:
    state = after(RoutingState(), KeyRevoked("0" * 12, "ghost"))
    assert state.keys == {}


@pytest.mark.parametrize(
    ("name", "grant", "field"),
    [
        ("", ANY, "name"),
        ("-app", ANY, "name"),
        ("App", ANY, "name"),
        ("a" * 65, ANY, "name"),
        ("app\n", ANY, "name"),
        ("app", ClientGrant(workflows=()), "workflows"),
        ("app", ClientGrant(workflows=("a b",)), "workflows"),
        ("app", ClientGrant(requests_per_minute=0), "requests_per_minute"),
        ("app", ClientGrant(tokens_per_minute=-1), "tokens_per_minute"),
        ("app", ClientGrant(concurrent_requests=0), "concurrent_requests"),
    ],
)
def test_what_no_key_may_have_is_refused_by_field(name: str, grant: Grant, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        new_key(name, grant)
    assert caught.value.param == field


def test_roles_cover_themselves_and_those_below() -> None:
    order = [Role.VIEWER, Role.OPERATOR, Role.APPROVER]
    for at, role in enumerate(order):
        assert [role.covers(other) for other in order] == [n <= at for n in range(3)]


@given(st.text("ab*", max_size=7), st.text("ab", max_size=9))
@example("*a*", "a")
@example("a*a", "a")
@example("a*b*b", "ab")
def test_patterns_match_as_shell_patterns_do(pattern: str, text: str) -> None:
    assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern)


def test_a_client_uses_the_workflows_of_its_patterns() -> None:
    client = Client(new_key("app", ANY)[0], ClientGrant(("triage", "mail-*")))
    assert [client.may_use(w) for w in ("triage", "mail-eu", "mail", "base")] == [
        True,
        True,
        False,
        False,
    ]
