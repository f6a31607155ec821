"""Rate limits: never more than the bound, never less than was promised, and waits that are true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.buckets import Bucket
from gateway.access.keyring import Client
from gateway.access.secret import new_key
from gateway.access.usage import Usage, UsageBook
from gateway.access.values import ClientGrant, Limit
from gateway.errors import RateLimited

limits = st.integers(1, 5000)
pauses = st.floats(0, 120, allow_nan=False)
amounts = st.integers(1, 6000)


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def usage_of(clock: Time, **grant: int) -> Usage:
    key, _ = new_key("app", ClientGrant(**grant))  # type: ignore[arg-type]
    assert isinstance(key.grant, ClientGrant)
    return UsageBook(clock).of(Client(key, key.grant))


@given(limits, st.lists(pauses, max_size=40))
def test_no_span_lets_more_requests_in_than_the_token_bucket_bound(
    per_minute: int, gaps: list[float]
) -> None:
    bucket, now, let_in = Bucket.full(per_minute, 0.0), 0.0, []
    for gap in gaps:
        now += gap
        if bucket.wait_s(1, now) == 0:
            bucket = bucket.spend(1, now)
            let_in.append(now)
    for first in range(len(let_in)):
        for last in range(first, len(let_in)):
            span = let_in[last] - let_in[first]
            assert last - first + 1 <= per_minute * (1 + span / 60) + 1e-6 * per_minute


@given(limits, st.integers(1, 60))
def test_who_keeps_the_pace_is_never_refused(per_minute: int, count: int) -> None:
    bucket, now = Bucket.full(per_minute, 0.0).spend(per_minute - 1, 0.0), 0.0
    for _ in range(count):
        assert bucket.wait_s(1, now) == 0
        bucket = bucket.spend(1, now)
        now += 60 / per_minute


@given(limits, st.lists(st.tuples(amounts, pauses), max_size=10), amounts)
def test_the_wait_that_is_told_is_long_enough_and_no_longer(
    per_minute: int, spent: list[tuple[int, float]], amount: int
) -> None:
    bucket, now = Bucket.full(per_minute, 0.0), 0.0
    for taken, gap in spent:
        bucket = bucket.spend(taken, now)
        now += gap
    wait_s = bucket.wait_s(amount, now)
    assert bucket.wait_s(amount, now + wait_s) == 0
    if wait_s > 1e-3:
        assert bucket.wait_s(amount, now + wait_s * 0.99) > 0


@given(limits, st.lists(pauses, max_size=10))
def test_a_bucket_never_holds_more_than_a_minute(per_minute: int, gaps: list[float]) -> None:
    bucket, now = Bucket.full(per_minute, 0.0), 0.0
    for gap in gaps:
        now += gap
        bucket = bucket.filled(now)
        assert bucket.level <= per_minute
    assert bucket.filled(now - 50) == bucket  # a clock that goes back takes nothing away


def test_requests_over_the_rate_are_refused_with_the_limit_and_the_wait() -> None:
    clock = Time()
    usage = usage_of(clock, requests_per_minute=2)
    for _ in range(2):
        usage.begin()
        usage.end()
    with pytest.raises(RateLimited, match="app is at its limit of 2 requests per minute") as caught:
        usage.begin()
    assert caught.value.limit == Limit.REQUESTS
    assert caught.value.retry_after_s == pytest.approx(30)
    clock.now += 30
    usage.begin()


def test_concurrent_requests_are_counted_until_they_end_and_refusals_cost_nothing() -> None:
    usage = usage_of(Time(), concurrent_requests=1, requests_per_minute=2)
    usage.begin()
    for _ in range(5):
        with pytest.raises(RateLimited) as caught:
            usage.begin()
        assert caught.value.limit == Limit.CONCURRENT
    usage.end()
    usage.begin()  # the five refusals took nothing of the rate


def test_an_answer_may_go_into_debt_and_the_next_request_waits_it_off() -> None:
    clock = Time()
    usage = usage_of(clock, tokens_per_minute=60)
    usage.admit(50)
    usage.spend(40)
    with pytest.raises(RateLimited) as caught:
        usage.admit(10)
    assert (caught.value.limit, caught.value.retry_after_s) == (Limit.TOKENS, 40)
    clock.now += 40
    usage.admit(10)


def test_a_prompt_over_a_whole_minute_is_let_in_when_nothing_else_was_used() -> None:
    clock = Time()
    usage = usage_of(clock, tokens_per_minute=60)
    usage.admit(100)
    with pytest.raises(RateLimited):
        usage.admit(100)
    clock.now += 100
    usage.admit(100)


def test_a_key_without_limits_is_never_refused() -> None:
    usage = usage_of(Time())
    for _ in range(100):
        usage.begin()
        usage.admit(10**6)


def test_usage_is_kept_for_a_key_as_long_as_it_lives() -> None:
    book = UsageBook(Time())
    grant = ClientGrant()
    client = Client(new_key("app", grant)[0], grant)
    usage = book.of(client)
    book.forget_all_but({client.key.id})
    assert book.of(client) is usage
    book.forget_all_but(set())
    assert book.of(client) is not usage
