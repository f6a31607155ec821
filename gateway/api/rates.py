"""Requests a second by workflow and target, from this process's own counters: what a person who
watches is shown. Nobody watches, nobody reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Counter
from pydantic import Field

from gateway.api.answers import Shown
from gateway.metrics import Metrics
from gateway.outcomes import is_failure

# By workflow and target: requests that ended, and those of them that failed.
Totals = Mapping[tuple[str, str], tuple[float, float]]


class Rate(Shown):
    """How many requests to one target ended, a second."""

    per_s: float = Field(description="requests that ended, a second")
    failed_per_s: float = Field(description="those of them that failed by no fault of the client")


class Rates(Shown):
    """What this replica did since the message before. Workflows without a request are left out."""

    at: float = Field(description="seconds since the epoch")
    over_s: float = Field(description="the seconds that the rates are the mean of")
    workflows: dict[str, dict[str, Rate]] = Field(description="by workflow, then by target")
    tokens_per_s: float = Field(description="tokens generated for all of them together")


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one moment. `clock_s` is of a clock that never goes back."""

    clock_s: float
    totals: Totals
    tokens: float


def read(metrics: Metrics, clock_s: float) -> Reading:
    """The counters now. Reads each series; for any thread."""
    totals: dict[tuple[str, str], tuple[float, float]] = {}
    for labels, value in _samples(metrics.requests):
        key = labels["workflow"], labels["target"]
        ended, failed = totals.get(key, (0.0, 0.0))
        bad = value if is_failure(labels["outcome"]) else 0.0
        totals[key] = ended + value, failed + bad
    return Reading(clock_s, totals, sum(value for _, value in _samples(metrics.tokens_out)))


def between(before: Reading, after: Reading, at: float) -> Rates:
    """The rates from one reading to a later one. `at`: when, in seconds since the epoch."""
    seconds = max(after.clock_s - before.clock_s, 1e-6)
    workflows: dict[str, dict[str, Rate]] = {}
    for (workflow, target), (ended, failed) in after.totals.items():
        was_ended, was_failed = before.totals.get((workflow, target), (0.0, 0.0))
        if ended > was_ended:
            workflows.setdefault(workflow, {})[target] = Rate(
                per_s=round((ended - was_ended) / seconds, 3),
                failed_per_s=round((failed - was_failed) / seconds, 3),
            )
    return Rates(
        at=at,
        over_s=round(seconds, 3),
        workflows=workflows,
        tokens_per_s=round((after.tokens - before.tokens) / seconds, 1),
    )


def _samples(counter: Counter) -> Iterable[tuple[Mapping[str, str], float]]:
    for metric in counter.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                yield sample.labels, sample.value
