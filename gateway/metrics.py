"""Every metric, declared in one place. Labels come from the table and from enums, never from
what a client sends."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.control.plane import ControlPlane
from gateway.engine.base import Engine
from gateway.engine_readings import Capacities, EngineReadings
from gateway.errors import GatewayError, RateLimited
from gateway.readings import FleetReadings, RouteReadings
from gateway.routing.table import Reason

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """The gateway's own registry of metrics; nothing is global."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gateway_requests",
            "Requests, by what they were decided to and how they ended.",
            ["workflow", "target", "reason", "outcome"],
            registry=self.registry,
        )
        self.first_token = Histogram(
            "gateway_time_to_first_token_seconds",
            "From the arrival of the request, queue included, to its first token.",
            ["workflow"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.between_tokens = Histogram(
            "gateway_time_between_tokens_seconds",
            "Between one token and the next of a request.",
            ["workflow"],
            buckets=_TOKEN_SECONDS,
            registry=self.registry,
        )
        self.duration = Histogram(
            "gateway_request_duration_seconds",
            "From the arrival of the request to its end.",
            ["workflow"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokens_in = Counter(
            "gateway_prompt_tokens", "Tokens of prompts.", ["workflow"], registry=self.registry
        )
        self.tokens_out = Counter(
            "gateway_generated_tokens", "Tokens generated.", ["workflow"], registry=self.registry
        )
        self.fallbacks = Counter(
            "gateway_request_fallbacks",
            "Requests that went on to another target, by the class of the error that they met.",
            ["workflow", "from_target", "to_target", "error"],
            registry=self.registry,
        )
        self.refused = Counter(
            "gateway_requests_refused",
            "Requests that no key let in, by the error's code.",
            ["code"],
            registry=self.registry,
        )
        self.limited = Counter(
            "gateway_key_limited",
            "Requests that a client key's own limit refused, by the key's name and the limit.",
            ["key", "limit"],
            registry=self.registry,
        )
        self.guard_answers = Counter(
            "gateway_guard_answers",
            "Answers that a check of a route's guard scored.",
            ["workflow", "arm", "check"],
            registry=self.registry,
        )
        self.guard_bad = Counter(
            "gateway_guard_bad",
            "The sum of their scores, 1 is bad; not for collapse.",
            ["workflow", "arm", "check"],
            registry=self.registry,
        )
        self.guard_evidence = Gauge(
            "gateway_guard_evidence",
            "How far a check is on its way to a trip, in the logarithm: 0 nothing, 1 a trip.",
            ["workflow", "arm", "check"],
            registry=self.registry,
        )
        self.guard_trips = Counter(
            "gateway_guard_trips",
            "Trips, by what came of them: disable, rollback, abort of a canary, alert, or held by "
            "the hourly limit.",
            ["workflow", "arm", "check", "action"],
            registry=self.registry,
        )
        self.guard_dropped = Counter(
            "gateway_guard_answers_dropped",
            "Answers that the guard did not see because its queue was full.",
            registry=self.registry,
        )
        self.feedback = Counter(
            "gateway_feedback",
            "Answers that feedback was given on.",
            ["workflow", "target"],
            registry=self.registry,
        )
        self.feedback_score = Counter(
            "gateway_feedback_score",
            "The sum of their scores, 1 is good; over gateway_feedback_total it is the mean.",
            ["workflow", "target"],
            registry=self.registry,
        )
        self.feedback_unknown = Counter(
            "gateway_feedback_unknown",
            "Feedback on requests that this gateway does not know, or not any more.",
            registry=self.registry,
        )
        self.shadow_requests = Counter(
            "gateway_shadow_requests",
            "Requests that were to be asked of the route's shadow as well, by what came of it.",
            ["workflow", "outcome"],
            registry=self.registry,
        )
        self.shadow_agreement = Counter(
            "gateway_shadow_agreement",
            "The sum over pairs of answers of how far they agree, from 0 to 1.",
            ["workflow"],
            registry=self.registry,
        )
        self.shadow_answers = Counter(
            "gateway_shadow_answers",
            "Pairs of answers that a check of the route scored.",
            ["workflow", "check"],
            registry=self.registry,
        )
        self.shadow_bad = Counter(
            "gateway_shadow_bad",
            "The sum of their scores, 1 is bad, by side: target or shadow.",
            ["workflow", "check", "side"],
            registry=self.registry,
        )
        self.shadow_nats = Counter(
            "gateway_shadow_nats",
            "Minus the log-likelihood of answers, of target or shadow, under the other model.",
            ["workflow", "answer"],
            registry=self.registry,
        )
        self.shadow_tokens = Counter(
            "gateway_shadow_tokens",
            "Tokens of those answers.",
            ["workflow", "answer"],
            registry=self.registry,
        )
        self.probe_rounds = Counter(
            "gateway_probe_rounds",
            "Rounds of probes, by how they ended: whole, cut by live load, changed, or failed.",
            ["workflow", "end"],
            registry=self.registry,
        )
        self.probe_pairs = Counter(
            "gateway_probe_pairs",
            "Probes that a route's target and the base were both asked.",
            ["workflow", "suite"],
            registry=self.registry,
        )
        self.probe_bad = Counter(
            "gateway_probe_bad",
            "The sum of their scores, 1 is bad, by side: target or base.",
            ["workflow", "suite", "side"],
            registry=self.registry,
        )
        self.revision = Gauge(
            "gateway_table_revision", "The live table's revision.", registry=self.registry
        )

    def watch(self, plane: ControlPlane, engine: Engine) -> None:
        """Read plane and engine at every scrape."""
        self.revision.set_function(lambda: plane.table.revision)
        for readings in (
            _Live(plane),
            EngineReadings(engine),
            Capacities(engine),
            RouteReadings(plane),
            FleetReadings(plane),
        ):
            self.registry.register(readings)

    def refuse(self, error: GatewayError) -> None:
        """Count a request that its key did not let in."""
        self.refused.labels(error.code).inc()
        if isinstance(error, RateLimited):
            self.limited.labels(error.key, error.limit).inc()


class _Live(Collector):
    """Readings of the moment, made when asked."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def collect(self) -> Iterator[Metric]:
        gauges = {
            "gateway_adapters_unavailable": (
                "Adapters that routes name and this process cannot have.",
                len(self._plane.unavailable),
            ),
            "gateway_routes_reload_ok": (
                "Whether the last reading of routes.yaml was accepted.",
                int(self._plane.file_status.ok),
            ),
            "gateway_routes_reload_timestamp_seconds": (
                "When routes.yaml was last read.",
                self._plane.file_status.loaded_at,
            ),
            "gateway_log_stale_seconds": (
                "How long the revision log has not been heard of; 0 while it is there.",
                self._plane.stale_seconds,
            ),
            "gateway_log_orders_owed": (
                "Orders that this replica obeys and the log has not got yet.",
                len(self._plane.owed),
            ),
            "gateway_routes_pending": (
                "Workflows whose new route waits for its adapter here.",
                len(self._plane.pending),
            ),
            "gateway_log_copy_behind": (
                "Whether this replica's copy of the log could not be written.",
                int(self._plane.copy_error is not None),
            ),
            "gateway_registry_reachable": (
                "Whether the adapters' registry could be read last time.",
                int(self._plane.registry_error is None),
            ),
            "gateway_log_reachable": (
                "Whether the revision log could be read last time.",
                int(self._plane.log_error is None),
            ),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        disabled = GaugeMetricFamily(
            "gateway_route_disabled", "Whether the route is disabled.", labels=["workflow"]
        )
        fallback = GaugeMetricFamily(
            "gateway_route_fallback",
            "Whether the fallback answers because the route's adapter is revoked or unavailable.",
            labels=["workflow"],
        )
        for name, decision in self._plane.table.decisions.items():
            disabled.add_metric([name], int(decision.reason is Reason.DISABLED))
            fallback.add_metric([name], int(decision.reason is Reason.FALLBACK))
        yield disabled
        yield fallback
