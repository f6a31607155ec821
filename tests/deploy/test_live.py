"""A real Prometheus on a running gateway: quiet while all is well, and an alert at a regression.

The tests share one gateway and run in the order of the file: first it is healthy, then its adapter
is replaced by one that answers otherwise.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.deploy.dashboard import Query, queries
from tests.deploy.prometheus_server import PrometheusServer
from tests.deploy.promtool import shipped_rules
from tests.gateway.process.served import Served, serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = """\
version: 1
workflows:
  triage:
    target: triage@{version}
    temperature: 0
    guard: {{checks: {{labels: {{labels: {labels}}}}}}}
    shadow: {{target: base, share: 100%}}
  notes: {{target: base, canary: {{adapter: triage@2, share: 10%}}}}
"""
GUARD_ALERTS = {rule.name for rule in shipped_rules() if rule.name.startswith("GatewayGuard")}
CLIENTS: dict[str, dict[str, int]] = {"app": {}, "small": {"requests_per_minute": 1}}
# The gateway of these tests runs its model itself, and a round of probes takes minutes.
NOT_HERE = {"Model servers of an upstream engine", "Probes"}
DEADLINE_S = 60.0


@dataclass
class Site:
    """The gateway, its Prometheus, and clients with a key."""

    gateway: Served
    prometheus: PrometheusServer
    routes: Path
    http: httpx.AsyncClient
    label: str = ""

    async def ask(self, key: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        body = {"model": "triage", "prompt": "fox", "max_tokens": 4}
        return await self.http.post("/v1/completions", json=body, headers=headers)

    async def praise(self, answer: httpx.Response, key: str) -> None:
        """Give feedback on an answer."""
        body = {"request_id": answer.headers["x-request-id"], "label": "good"}
        headers = {"authorization": f"Bearer {key}"}
        said = await self.http.post("/v1/feedback", json=body, headers=headers)
        said.raise_for_status()

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `condition` holds."""
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while not await condition():
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"not in {DEADLINE_S:g} s: {what}")
            await asyncio.sleep(0.1)

    async def make_key(self, name: str, **limits: int) -> str:
        """A client key's secret."""
        grant = {"kind": "client", "workflows": ["*"], **limits}
        made = await self.gateway.order("POST", "/keys", name=name, grant=grant, reason="a test")
        return str(made.json()["secret"])

    def route_to(self, version: int) -> None:
        """Edit routes.yaml: the adapter changes, what the guard expects does not."""
        labels = json.dumps([self.label, "some other label"])
        self.routes.write_text(ROUTES.format(version=version, labels=labels))

    async def goes_to(self, target: str) -> bool:
        found = (await self.gateway.order("GET", "/routes")).json()["workflows"]["triage"]
        return bool(found["target"] == target)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    routes = folder / "routes.yaml"
    routes.write_text(ROUTES.format(version=1, labels='["any"]').replace("guard:", "# guard:"))
    gateway = await serve(tiny_files, folder)
    address = gateway.inference.removeprefix("http://")
    prometheus = PrometheusServer(folder / "prometheus", address)
    async with httpx.AsyncClient(base_url=gateway.inference, timeout=60) as http:
        try:
            await prometheus.start()
            made = Site(gateway, prometheus, routes, http)
            made.label = (await made.ask()).json()["choices"][0]["text"].strip()
            assert made.label
            yield made
        finally:
            await prometheus.stop()
            await gateway.kill()


async def test_no_guard_alert_fires_while_the_answers_are_as_expected(site: Site) -> None:
    site.route_to(1)
    seen = 'gateway_guard_answers_total{check="labels"}'

    async def watched() -> bool:
        assert (await site.ask()).status_code == 200
        return bool(await site.prometheus.query(f"{seen} >= 20"))

    await site.until("the guard has seen 20 answers", watched)

    async def judged() -> bool:
        return all(rule["health"] == "ok" for rule in await site.prometheus.rules())

    await site.until("every rule was judged", judged)
    assert not GUARD_ALERTS & (await site.prometheus.alerts()).keys()
    assert (await site.prometheus.query("gateway_guard_bad_total"))[0].value == 0


async def test_a_regression_is_taken_back_and_alerted_on(site: Site) -> None:
    site.route_to(2)
    await site.until("the new adapter is live", lambda: site.goes_to("triage@2"))

    async def taken_back() -> bool:
        answer = await site.ask()
        return answer.headers["x-gateway-reason"] == "disabled"

    await site.until("the guard has disabled it", taken_back)

    async def fires() -> bool:
        return (await site.prometheus.alerts()).get("GatewayGuardTookRouteBack") == "firing"

    await site.until("the alert fires", fires)
    said = await site.prometheus.annotations("GatewayGuardTookRouteBack")
    assert said["summary"] == "The guard took triage back"
    assert "triage is disabled by the guard since 20" in said["description"]
    others = GUARD_ALERTS & (await site.prometheus.alerts()).keys()
    assert others == {"GatewayGuardTookRouteBack"}


async def test_the_alert_ends_when_a_person_enables_the_route(site: Site) -> None:
    site.route_to(1)
    await site.gateway.order("POST", "/workflows/triage/enable", reason="the old one again")

    async def quiet() -> bool:
        return "GatewayGuardTookRouteBack" not in await site.prometheus.alerts()

    await site.until("the alert has ended", quiet)


async def test_every_query_of_the_dashboard_returns_data(site: Site) -> None:
    """An empty panel is a panel that nobody can trust."""
    await site.gateway.order("POST", "/workflows/notes/disable", reason="to see an override")
    keys = {name: await site.make_key(name, **limits) for name, limits in CLIENTS.items()}

    async def empty() -> list[Query]:
        asked = (site.ask(keys["small"]), site.ask(keys["app"]), site.ask("unknown"))
        _, answer, _ = await asyncio.gather(*asked)
        await site.praise(answer, keys["app"])
        return [query for query in wanted if not await has_data(query)]

    async def has_data(query: Query) -> bool:
        found = await site.prometheus.query(query.filled("4s"))
        return any(not math.isnan(sample.value) for sample in found)

    wanted = [query for query in queries() if query.row not in NOT_HERE]
    still: list[Query] = []

    async def full() -> bool:
        still[:] = await empty()
        return not still

    try:
        await site.until("every panel has data", full)
    except TimeoutError:
        pytest.fail(f"no data: {still}")
