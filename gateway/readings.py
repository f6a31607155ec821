"""Readings of routes and of the fleet, made at every scrape from what the control plane holds.

Apart from `metrics.py`, which counts what happens: nothing here is kept between two scrapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.control.plane import ControlPlane
from gateway.guard.values import SCORED_ELSEWHERE
from gateway.routing.assignment import BUCKETS
from gateway.routing.canary import Phase
from gateway.routing.fold import RoutingState, canary_of, with_hand_of
from gateway.routing.table import Disabled, Override, Pinned, Reason

_GATEWAY_ACTORS = frozenset({"guard", "gateway"})
OPERATOR = "operator"


def hand_of(actor: str) -> str:
    """Whose hand an override is, in three words: names of people are no labels."""
    return actor if actor in _GATEWAY_ACTORS else OPERATOR


class RouteReadings(Collector):
    """Routes under a guard, the hands above routes.yaml with the time of each, and canaries."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def collect(self) -> Iterator[Metric]:
        guarded = GaugeMetricFamily(
            "gateway_route_guarded",
            "1 for each route with a guard that scores every answer.",
            labels=["workflow"],
        )
        for name, decision in self._plane.table.decisions.items():
            guard = decision.route.guard
            if guard is not None and any(c.kind not in SCORED_ELSEWHERE for c in guard.checks):
                guarded.add_metric([name], 1)
        yield guarded
        hands = GaugeMetricFamily(
            "gateway_route_override_timestamp_seconds",
            "When a route was disabled or pinned above routes.yaml, while it is; by guard, gateway "
            "(no replica could hold it) or operator.",
            labels=["workflow", "override", "by"],
        )
        for workflow, override in self._overrides().items():
            for name, hand in (("disabled", override.disabled), ("pinned", override.pinned)):
                if isinstance(hand, Disabled | Pinned):
                    hands.add_metric([workflow, name, hand_of(hand.actor)], hand.at)
        yield hands
        yield from self._canaries()

    def _canaries(self) -> Iterator[Metric]:
        shares = GaugeMetricFamily(
            "gateway_canary_share",
            "The part of its workflow's requests that a canary answers, from 0 to 1.",
            labels=["workflow"],
        )
        aborted = GaugeMetricFamily(
            "gateway_canary_aborted",
            "Whether a workflow's canary was aborted; for each that the table names.",
            labels=["workflow"],
        )
        for name, decision in self._plane.table.decisions.items():
            progress = canary_of(self._plane.state, name)
            if progress is None:
                continue
            whole = float(decision.reason is Reason.CANARY)
            split = decision.split
            shares.add_metric([name], whole if split is None else split.buckets / BUCKETS)
            aborted.add_metric([name], int(progress.phase is Phase.ABORTED))
        yield shares
        yield aborted

    def _overrides(self) -> Mapping[str, Override]:
        """Those of routes that exist; with what is obeyed here and the log has not got yet."""
        state: RoutingState = self._plane.state
        for draft in self._plane.owed:
            state = with_hand_of(state, draft)
        return {name: hand for name, hand in state.overrides.items() if name in state.routes}


class FleetReadings(Collector):
    """The gateways that share the log, as this one last heard of them."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def collect(self) -> Iterator[Metric]:
        seen = self._plane.fleet.last
        counted = Counter("live" if one.live else "lost" for one in seen)
        replicas = GaugeMetricFamily(
            "gateway_fleet_replicas",
            "Gateways that share the log: live, or lost (silent for 3.5 s; forgotten after 1 h).",
            labels=["state"],
        )
        for state in ("live", "lost"):
            replicas.add_metric([state], counted[state])
        yield replicas
        newest = max((one.beat.revision for one in seen if one.live), default=0)
        yield _gauge(
            "gateway_fleet_revision",
            "The newest revision that a live gateway serves; more than gateway_table_revision is "
            "what this one is behind.",
            max(newest, self._plane.table.revision),
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
