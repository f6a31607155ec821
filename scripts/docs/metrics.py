"""The reference of the metrics, from their declarations."""

from __future__ import annotations

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from gateway.metrics import Metrics
from scripts.docs.markdown import code, sentence, table
from scripts.docs.parts import parts


def page() -> str:
    """One row for each metric: its name as scraped, kind, labels, and what it counts."""
    with parts() as made:
        metrics = Metrics()
        labels = {
            family.name: declared._labelnames
            for declared in vars(metrics).values()
            if isinstance(declared, MetricWrapperBase)
            for family in declared.describe()
        }
        metrics.watch(made.plane, made.engine)
        rows = [
            (
                code(_scraped(family)),
                family.type,
                ", ".join(code(name) for name in labels.get(family.name) or _labels(family)),
                sentence(family.documentation),
            )
            for family in sorted(metrics.registry.collect(), key=lambda family: family.name)
        ]
    return (
        "# Metrics\n\n"
        "At `/metrics` of the inference port, in Prometheus' text format. Labels come from the\n"
        "routing table and from fixed lists, never from what a client sends. A histogram has the\n"
        "series `_bucket`, `_sum` and `_count`.\n\n"
        + table(("metric", "kind", "labels", "what it says"), rows)
    )


def _scraped(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> tuple[str, ...]:
    """As a collector declares them: there may be no sample yet."""
    return tuple(getattr(family, "_labelnames", ()))
