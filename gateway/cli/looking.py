"""Looks at a running gateway, one after the other: its admin API, and its metrics for rates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx

from gateway.cli.client import AdminClient, Refused, Unreachable
from gateway.view.overview import Overview, overview
from gateway.view.readings import Rates, Reading, rates, read

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # what listens there is reached where we asked


class Looks:
    """Keeps the last reading of the metrics, as rates are of two."""

    def __init__(self, client: AdminClient, admin_url: str, metrics_url: str | None) -> None:
        """`metrics_url`: where the metrics are; None asks the gateway for its own address."""
        self._client = client
        self._admin_url = admin_url
        self._metrics_url = metrics_url
        self._last: Reading | None = None

    def look(self) -> Overview:
        """One look; the first has no rates yet. Raises what `AdminClient.call` raises."""
        status = self._client.call("GET", "/status")
        routes = self._client.call("GET", "/routes")
        guard = self._client.call("GET", "/guard")
        found, problem = self._rates(status)
        return overview(status, routes, guard, found, at=time.time(), metrics_problem=problem)

    def _rates(self, status: Mapping[str, Any]) -> tuple[dict[str, Rates] | None, str]:
        """The rates since the look before, and why there are none."""
        url = self._metrics_url or metrics_url(status, self._admin_url)
        if url is None:
            return None, "the gateway has not said its address; give --metrics-url"
        try:
            now = read(self._client.page(url), time.monotonic())
        except (Unreachable, Refused, ValueError, KeyError) as error:
            return None, f"{error} (--metrics-url names another address)"
        before, self._last = self._last, now
        return (None if before is None else rates(before, now)), ""


def metrics_url(status: Mapping[str, Any], admin_url: str) -> str | None:
    """Where the metrics of the gateway that answered `status` are, by its own word."""
    for one in status["replicas"]:
        if one["replica"] == status["replica"] and one["inference"]:
            address = httpx.URL(one["inference"])
            if address.host in _ANY_ADDRESS:
                address = address.copy_with(host=httpx.URL(admin_url).host)
            return str(address.join("/metrics"))
    return None
