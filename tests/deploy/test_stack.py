"""The stack without containers: every process is killed once under requests, and nothing that was
acknowledged is forgotten, no other model answers than is named, and no request is lost that could
be answered elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from tests.debian import Unobtainable, find
from tests.deploy.load import Load
from tests.deploy.running import Running, Site, until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def running(site: Site) -> Iterator[Running]:
    made = Running(site, prometheus=prometheus())
    try:
        made.start()
        yield made
    finally:
        made.stop()


def prometheus() -> str | None:
    """Its program, where it can be had."""
    try:
        return str(find("prometheus", "prometheus"))
    except Unobtainable:
        return None


def disable(admin: str, workflow: str) -> None:
    """Returns once it is acknowledged."""
    order = httpx.post(
        f"{admin}/admin/v1/workflows/{workflow}/disable",
        json={"reason": "answers nonsense"},
        timeout=30,
    )
    assert order.status_code == 200, order.text


def test_each_process_is_killed_once_under_requests(running: Running) -> None:
    load = Load(running.bases, ("triage", "notes"), running.site.expected())
    load.start()
    disable(running.admins[0], "triage")
    until(lambda: len({running.status(admin)["revision"] for admin in running.admins}) == 1)
    disabled = time.monotonic()

    running.kill("redis-server", str(running.ports[0]))
    if running.prometheus is not None:
        running.kill("prometheus", f"listen-address 127.0.0.1:{running.ports[1]}")
    # A gateway together with an engine: the others answer for both.
    for which, name in enumerate(("gateway-a", "gateway-b")):
        base, server = running.bases[which], running.servers[which]
        port = running.ports[6 + which]
        other = running.admins[1 - which]
        load.dying |= {base, "engine"}
        until(lambda: running.of_server(other, server)["choices"] > 0)  # noqa: B023
        running.kill("gateway.cli.main engine", f"port {port}")
        running.kill("gateway.cli.main serve", f"replica {name}")
        until(partial(running.ready, base), 120)
        load.dying.discard(base)
        until(partial(running.in_use, server), 120)
        assert running.of_server(other, server)["faults"]
        load.dying.discard("engine")
    again = time.monotonic()
    until(lambda: len(load.since(again)) > 8)
    load.stop()

    assert load.failed == []
    told = {(one.workflow, one.target, one.reason) for one in load.since(disabled)}
    assert told == {("triage", "base", "disabled"), ("notes", "triage@2", "route")}
    assert all(running.status(admin)["log"]["ok"] for admin in running.admins)


def test_each_gateway_can_have_its_model_in_itself(site: Site) -> None:
    running = Running(site, engines="none")
    try:
        running.start()
        for base in running.bases:
            body = {"model": "notes", "prompt": "fox", "max_tokens": 3}
            answer = httpx.post(f"{base}/v1/completions", json=body, timeout=60)
            assert answer.headers["x-gateway-target"] == "triage@2"
        kinds = {running.status(admin)["engine"]["kind"] for admin in running.admins}
        assert kinds == {"embedded"}
    finally:
        running.stop()
