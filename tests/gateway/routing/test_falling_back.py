"""Where a request goes on: adapter, fallback, base, each once, and never what may not be served."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.falling_back import next_decision
from gateway.routing.table import (
    BASE_TARGET,
    AdapterRef,
    Decision,
    ErrorClass,
    Reason,
    Route,
    Target,
)

NEW = Target(AdapterRef("a", "2"), "2" * 64)
OLD = Target(AdapterRef("a", "1"), "1" * 64)
ANY = tuple(ErrorClass)


def decision(
    target: Target = NEW, fallback: Target = OLD, on_error: tuple[ErrorClass, ...] = ANY
) -> Decision:
    route = Route("w", target, fallback, on_error=on_error)
    return Decision("w", target, Reason.ROUTE, 7, route)


def chain(start: Decision, unusable: frozenset[Target] = frozenset()) -> list[Target]:
    """Every target in turn, as each fails."""
    now: Decision | None = start
    seen: list[Target] = []
    while now is not None:
        seen.append(now.target)
        now = next_decision(now, set(seen), ErrorClass.ENGINE, lambda t: t not in unusable)
    return seen


def test_the_chain_is_the_adapter_then_the_fallback_then_the_base() -> None:
    assert chain(decision()) == [NEW, OLD, BASE_TARGET]
    assert chain(decision(fallback=BASE_TARGET)) == [NEW, BASE_TARGET]
    assert chain(decision(target=BASE_TARGET)) == [BASE_TARGET, OLD]


def test_what_was_revoked_or_is_lost_is_passed_over() -> None:
    assert chain(decision(), frozenset({OLD})) == [NEW, BASE_TARGET]


def test_only_the_errors_that_the_route_names_send_on() -> None:
    one = decision(on_error=(ErrorClass.OVERLOAD,))
    assert next_decision(one, {NEW}, ErrorClass.ENGINE, lambda _: True) is None
    assert next_decision(one, {NEW}, ErrorClass.OVERLOAD, lambda _: True) is not None
    assert chain(decision(on_error=())) == [NEW]


def test_the_next_decision_says_what_it_is() -> None:
    following = next_decision(decision(), {NEW}, ErrorClass.ENGINE, lambda _: True)
    assert following is not None
    assert (following.target, following.reason, following.revision) == (OLD, Reason.FALLBACK, 7)
    assert following.why == "a@2 failed the request (engine)"


_TARGETS = st.sampled_from([NEW, OLD, BASE_TARGET])


@given(_TARGETS, _TARGETS, st.frozensets(_TARGETS), _TARGETS)
def test_no_target_comes_twice_and_the_routes_own_never_again(
    target: Target, fallback: Target, unusable: frozenset[Target], began: Target
) -> None:
    route = Route("w", target, fallback, on_error=ANY)
    seen = chain(Decision("w", began, Reason.DISABLED, 1, route), unusable)
    assert len(seen) == len(set(seen))
    assert target not in seen[1:]
    assert not unusable & set(seen[1:])
