"""Rates of two readings, and quantiles, as Prometheus would say them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.view.readings import Reading, quantile, rates, read

PAGE = """\
# TYPE gateway_requests_total counter
gateway_requests_total{workflow="triage",target="triage@1",reason="route",outcome="ok"} 10.0
gateway_requests_total{workflow="triage",target="base",reason="disabled",outcome="ok"} 2.0
gateway_requests_total{workflow="triage",target="base",reason="disabled",outcome="queue_full"} 3.0
gateway_requests_total{workflow="triage",target="base",reason="route",outcome="invalid_value"} 4.0
gateway_requests_total{workflow="triage",target="base",reason="route",outcome="cancelled"} 1.0
# TYPE gateway_generated_tokens_total counter
gateway_generated_tokens_total{workflow="triage"} 70.0
# TYPE gateway_time_to_first_token_seconds histogram
gateway_time_to_first_token_seconds_bucket{le="0.1",workflow="triage"} 8.0
gateway_time_to_first_token_seconds_bucket{le="1.0",workflow="triage"} 12.0
gateway_time_to_first_token_seconds_bucket{le="+Inf",workflow="triage"} 12.0
gateway_time_to_first_token_seconds_count{workflow="triage"} 12.0
gateway_time_to_first_token_seconds_sum{workflow="triage"} 2.0
"""


def test_a_page_is_read_by_workflow_and_clients_own_faults_are_no_failures() -> None:
    found = read(PAGE, 5.0)
    assert found.requests == {"triage": 20}
    assert found.failed == {"triage": 3}
    assert found.tokens == {"triage": 70}
    assert found.first_token == {"triage": {0.1: 8, 1.0: 12, math.inf: 12}}


def test_rates_are_of_what_came_between() -> None:
    before = Reading(10.0, {"a": 5}, {"a": 1}, {"a": 100}, {"a": {0.1: 1, math.inf: 1}})
    now = Reading(12.0, {"a": 9, "b": 2}, {"a": 1}, {"a": 150}, {"a": {0.1: 1, math.inf: 1}})
    found = rates(before, now)
    assert (found["a"].requests_s, found["a"].failed_s, found["a"].tokens_s) == (2, 0, 25)
    assert found["a"].first_token_p95_s is None
    assert found["b"].requests_s == 1


def test_a_gateway_that_was_started_anew_has_counted_since_its_start() -> None:
    before = Reading(10.0, {"a": 500}, first_token={"a": {0.1: 400, math.inf: 500}})
    now = Reading(12.0, {"a": 4}, first_token={"a": {0.1: 4, math.inf: 4}})
    found = rates(before, now)["a"]
    assert found.requests_s == 2
    assert found.first_token_p50_s == pytest.approx(0.05)


def test_two_readings_at_one_moment_make_no_rates() -> None:
    assert rates(Reading(1.0), Reading(1.0, {"a": 1})) == {}


@pytest.mark.parametrize(
    ("share", "buckets", "value"),
    [
        (0.5, {}, None),
        (0.5, {1.0: 0, math.inf: 0}, None),
        (0.5, {1.0: 4, math.inf: 4}, 0.5),
        (0.95, {1.0: 90, 2.0: 100, math.inf: 100}, 1.5),
        (0.99, {1.0: 1, math.inf: 100}, 1.0),  # over every bound
        (0.5, {1.0: 0, 2.0: 10, math.inf: 10}, 1.5),
    ],
)
def test_a_quantile_is_even_within_its_bucket(
    share: float, buckets: dict[float, float], value: float | None
) -> None:
    assert quantile(share, buckets) == (None if value is None else pytest.approx(value))


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(any),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)
def test_quantiles_grow_with_the_share_and_stay_within_the_bounds(
    counts: list[int], one: float, other: float
) -> None:
    bounds = [*map(float, range(1, len(counts))), math.inf]
    sums = [float(sum(counts[: at + 1])) for at in range(len(counts))]
    buckets = dict(zip(bounds, sums, strict=True))
    low, high = quantile(min(one, other), buckets), quantile(max(one, other), buckets)
    assert low is not None
    assert high is not None
    assert 0 <= low <= high + 1e-9
    assert high <= bounds[-2] + 1e-9
