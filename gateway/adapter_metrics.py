"""The metrics of how requests found their adapters in the slots of this process."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.engine.adapter_use import WAIT_BOUNDS, AdapterUse


def adapter_metrics(use: AdapterUse | None) -> Iterator[Metric]:
    """Of the moment; without samples where model servers hold the adapters."""
    hits = CounterMetricFamily(
        "gateway_adapter_hits",
        "Requests whose adapter was in a device slot when they came.",
        labels=(),
    )
    misses = CounterMetricFamily(
        "gateway_adapter_misses", "Requests whose adapter was in no slot.", labels=()
    )
    reads = CounterMetricFamily(
        "gateway_adapter_reads",
        "Adapters read from disk: in no slot, and not in host memory.",
        labels=(),
    )
    memory = GaugeMetricFamily(
        "gateway_adapter_memory_bytes",
        "Adapters held in host memory behind the slots.",
        labels=(),
    )
    waits = HistogramMetricFamily(
        "gateway_adapter_wait_seconds",
        "Requests that had a place in the batch and waited for their adapter, by how long.",
        labels=(),
    )
    if use:
        hits.add_metric((), use.hits)
        misses.add_metric((), use.misses)
        reads.add_metric((), use.reads)
        memory.add_metric((), use.memory_bytes)
        bounds = [*(str(bound) for bound in WAIT_BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(use.waits), strict=True))
        waits.add_metric((), buckets, sum_value=use.wait_seconds)
    yield from (hits, misses, reads, memory, waits)
