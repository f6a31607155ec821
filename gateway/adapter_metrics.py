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
    counters = (
        (
            "gateway_adapter_hits",
            "Requests whose adapter was in a device slot when they came.",
            use and use.hits,
        ),
        (
            "gateway_adapter_misses",
            "Requests whose adapter was not.",
            use and use.misses,
        ),
        (
            "gateway_adapter_reads",
            "Adapters read from disk: in no slot, and not in memory.",
            use and use.reads,
        ),
    )
    for name, text, value in counters:
        counter = CounterMetricFamily(name, text, labels=())
        if value is not None:
            counter.add_metric((), value)
        yield counter
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
    if use is not None:
        memory.add_metric((), use.memory_bytes)
        bounds = [*(str(bound) for bound in WAIT_BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(use.waits), strict=True))
        waits.add_metric((), buckets, sum_value=use.wait_seconds)
    yield from (memory, waits)
