"""The circuit breaker and the retry budget keep their promises over any history."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.upstream.breaker import Breaker, BreakerRule, Circuit
from gateway.engine.upstream.budget import RetryBudget

RULE = BreakerRule(failures=3, pause_s=1.0, longest_pause_s=8.0)


def after(breaker: Breaker, *outcomes: bool, now: float = 0.0) -> Breaker:
    for good in outcomes:
        breaker = breaker.sent(now)
        breaker = breaker.succeeded(now) if good else breaker.failed(now)
    return breaker


def test_only_failures_in_a_row_eject() -> None:
    assert after(Breaker(RULE), False, False, True, False, False).circuit(0) is Circuit.CLOSED
    assert after(Breaker(RULE), False, False, False).circuit(0) is Circuit.OPEN


def test_after_its_pause_one_request_alone_is_the_trial() -> None:
    breaker = after(Breaker(RULE), False, False, False)
    assert not breaker.allows(0.99)
    assert breaker.allows(1.0)
    breaker = breaker.sent(1.0)
    assert not breaker.allows(1.0)
    assert breaker.abandoned().allows(1.0)
    assert breaker.succeeded(1.0).circuit(1.0) is Circuit.CLOSED


def test_a_failed_trial_ejects_at_once_and_for_longer_up_to_a_limit() -> None:
    breaker, now, pauses = after(Breaker(RULE), False, False, False), 0.0, []
    for _ in range(6):
        assert breaker.until is not None
        pauses.append(breaker.until - now)
        now = breaker.until
        breaker = breaker.sent(now).failed(now)
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_what_was_under_way_before_an_ejection_does_not_end_or_lengthen_it() -> None:
    breaker = after(Breaker(RULE), False, False, False)
    assert breaker.succeeded(0.5) == breaker
    assert breaker.failed(0.5) == breaker


_STEPS = st.lists(
    st.tuples(st.sampled_from(["sent", "good", "bad", "gone"]), st.floats(0, 3)), max_size=60
)


@settings(deadline=None)
@given(_STEPS)
def test_a_server_is_never_shut_out_for_good_and_never_gets_two_trials(
    steps: list[tuple[str, float]],
) -> None:
    breaker, now = Breaker(RULE), 0.0
    for kind, pause in steps:
        now += pause
        match kind:
            case "sent":
                if breaker.allows(now):
                    half = breaker.circuit(now) is Circuit.HALF_OPEN
                    breaker = breaker.sent(now)
                    assert not (half and breaker.allows(now))
            case "good":
                breaker = breaker.succeeded(now)
            case "bad":
                breaker = breaker.failed(now)
            case _:
                breaker = breaker.abandoned()
        assert breaker.until is None or breaker.until - now <= RULE.longest_pause_s
    assert breaker.abandoned().allows(now + RULE.longest_pause_s)


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=400), st.floats(0.01, 1))
def test_retries_are_never_more_than_the_reserve_and_their_share(
    wanted: list[bool], share: float
) -> None:
    budget = RetryBudget(share=share, most=5, held=5)
    retries = 0
    for requests, wants in enumerate(wanted, start=1):
        budget = budget.requested()
        if wants and budget.allows():
            budget, retries = budget.retried(), retries + 1
        assert retries <= 5 + share * requests + 1e-9
        assert 0 <= budget.held <= 5
