"""The metrics page as numbers by workflow, and what changed between two of them. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from gateway.outcomes import is_failure

_FIRST_TOKEN = "gateway_time_to_first_token_seconds_bucket"

Buckets = Mapping[float, float]  # observations up to a bound in seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of one moment; each only grows while the gateway runs."""

    at: float  # seconds, of a clock that does not go back
    requests: Mapping[str, float] = field(default_factory=dict)  # by workflow
    failed: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)  # generated
    first_token: Mapping[str, Buckets] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rates:
    """What one workflow did between two readings."""

    requests_s: float
    failed_s: float
    tokens_s: float
    first_token_p50_s: float | None  # None where no request got a first token
    first_token_p95_s: float | None


def read(page: str, at: float) -> Reading:
    """A metrics page, taken at `at`. Raises ValueError where it is none."""
    requests: defaultdict[str, float] = defaultdict(float)
    failed: defaultdict[str, float] = defaultdict(float)
    tokens: defaultdict[str, float] = defaultdict(float)
    first: dict[str, dict[float, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            workflow = sample.labels.get("workflow", "")
            match sample.name:
                case "gateway_requests_total":
                    requests[workflow] += sample.value
                    if is_failure(sample.labels["outcome"]):
                        failed[workflow] += sample.value
                case "gateway_generated_tokens_total":
                    tokens[workflow] += sample.value
                case name if name == _FIRST_TOKEN:
                    first[workflow][float(sample.labels["le"])] = sample.value
    return Reading(at, requests, failed, tokens, first)


def rates(before: Reading, now: Reading) -> dict[str, Rates]:
    """What each workflow of `now` did since `before`. Where a counter went back, the gateway was
    started anew, and what it holds came since."""
    seconds = now.at - before.at
    if seconds <= 0:
        return {}
    found = {}
    for workflow in now.requests:
        buckets = _grown(before.first_token.get(workflow, {}), now.first_token.get(workflow, {}))
        found[workflow] = Rates(
            requests_s=_increase(before.requests, now.requests, workflow) / seconds,
            failed_s=_increase(before.failed, now.failed, workflow) / seconds,
            tokens_s=_increase(before.tokens, now.tokens, workflow) / seconds,
            first_token_p50_s=quantile(0.5, buckets),
            first_token_p95_s=quantile(0.95, buckets),
        )
    return found


def quantile(share: float, buckets: Buckets) -> float | None:
    """The value under which `share` of the observations lie, taken as even within a bucket, as
    Prometheus' histogram_quantile does; what is over the last bound counts as that bound. None
    where there are no observations."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank and count > below:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        if not math.isinf(bound):
            low = bound
        below = count
    return low


def _increase(before: Mapping[str, float], now: Mapping[str, float], workflow: str) -> float:
    was, is_ = before.get(workflow, 0.0), now.get(workflow, 0.0)
    return is_ - was if is_ >= was else is_


def _grown(before: Buckets, now: Buckets) -> Buckets:
    grown = {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
    return now if any(count < 0 for count in grown.values()) else grown
