"""Readings of an engine, made at every scrape from what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.adapter_metrics import adapter_metrics
from gateway.engine.base import Engine
from gateway.server_metrics import server_metrics


class Capacities(Collector):
    """What the engine can hold; constant, for the share that is used."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        info = self._engine.info
        yield GaugeMetricFamily(
            "gateway_queue_capacity", "Rows that may wait.", value=info.max_queue
        )
        yield GaugeMetricFamily(
            "gateway_running_rows_capacity", "Rows that may run.", value=info.max_rows
        )
        yield GaugeMetricFamily(
            "gateway_adapter_slots", "Slots for adapters on the device.", value=info.slots
        )


class EngineReadings(Collector):
    """Rows, cache and adapters of the moment, and what was loaded."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        stats = self._engine.stats()
        gauges = {
            "gateway_queue_depth": ("Rows waiting for a place.", stats.queue_depth),
            "gateway_running_rows": ("Rows running.", stats.running_rows),
            "gateway_background_queue_depth": (
                "Rows of background work waiting for a place.",
                stats.background_queue_depth,
            ),
            "gateway_background_rows": (
                "Rows of background work that hold a place, running or paused.",
                stats.background_rows,
            ),
            "gateway_kv_tokens_used": ("Tokens held in the KV cache.", stats.kv_tokens_used),
            "gateway_kv_tokens_capacity": ("Tokens it can hold.", stats.kv_tokens_total),
            "gateway_adapters_resident": (
                "Adapters in device slots.",
                len(stats.resident_adapters),
            ),
            "gateway_engine_healthy": ("Whether the engine runs.", int(stats.healthy)),
        }
        yield from server_metrics(stats)
        yield from adapter_metrics(stats.adapter_use)
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        counters = {
            "gateway_adapter_loads": ("Adapters loaded to a slot.", stats.adapter_loads),
            "gateway_adapter_load_failures": ("Loads that failed.", stats.adapter_load_failures),
            "gateway_adapter_evictions": ("Adapters evicted.", stats.adapter_evictions),
            "gateway_background_preemptions": (
                "How often background work gave its place to a live request.",
                stats.background_preemptions,
            ),
            "gateway_adapter_load_seconds": (
                "Seconds spent loading adapters.",
                stats.adapter_load_seconds,
            ),
        }
        for name, (text, count) in counters.items():
            yield CounterMetricFamily(name, text, value=count)
