"""The metrics of an upstream engine's servers. Labels are the settings' addresses, and enums."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.engine.base import EngineStats

_USABLE = ("closed", "half_open")


def server_metrics(stats: EngineStats) -> Iterator[Metric]:
    """Of the moment; without samples where the engine is in this process."""
    usable = GaugeMetricFamily(
        "gateway_server_usable",
        "Whether a model server gets requests: it is well and not ejected.",
        labels=["server"],
    )
    requests = GaugeMetricFamily(
        "gateway_server_requests",
        "Choices that this gateway has running or waiting there.",
        labels=["server"],
    )
    tokens = GaugeMetricFamily(
        "gateway_server_outstanding_tokens",
        "Tokens of theirs that are still to be read or generated.",
        labels=["server"],
    )
    adapters = GaugeMetricFamily(
        "gateway_server_adapters", "Adapters that a server holds.", labels=["server"]
    )
    faults = CounterMetricFamily(
        "gateway_server_faults",
        "What went wrong with requests there, by kind; wrong_model: the base or another model "
        "answered in an adapter's place, and the answer was not used.",
        labels=["server", "fault"],
    )
    for one in stats.servers:
        usable.add_metric([one.name], int(one.circuit in _USABLE))
        requests.add_metric([one.name], one.choices)
        tokens.add_metric([one.name], one.tokens)
        adapters.add_metric([one.name], one.adapters)
        for fault, count in one.faults.items():
            faults.add_metric([one.name, fault], count)
    yield from (usable, requests, tokens, adapters, faults)
    yield CounterMetricFamily(
        "gateway_server_retries",
        "Requests that were sent to another server before anything was answered.",
        value=stats.retries,
    )
