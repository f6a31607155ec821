"""Every metric shows up, and what a client sends never becomes a label."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.routing.table import Reason
from tests.gateway.conftest import World

STRANGE = "zz-not-a-workflow-7"
LABELS = {"workflow", "target", "reason", "outcome", "code", "le", "state"}
OUTCOMES = {"ok", "cancelled", "engine_error", "invalid_value", "queue_full", "route_changed"}


async def page(world: World) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=world.inference) as http:
        answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


async def ask(world: World, **change: Any) -> int:
    body = {"model": "triage", "messages": [{"role": "user", "content": STRANGE}], "max_tokens": 3}
    headers = {"x-request-id": STRANGE}
    async with httpx.AsyncClient(base_url=world.inference, timeout=60, headers=headers) as http:
        answer = await http.post("/v1/chat/completions", json={**body, **change})
    return answer.status_code


async def test_every_metric_of_the_issue_shows_up_before_and_after_the_first_request(
    world: World,
) -> None:
    declared = {
        "gateway_requests",
        "gateway_time_to_first_token_seconds",
        "gateway_time_between_tokens_seconds",
        "gateway_request_duration_seconds",
        "gateway_prompt_tokens",
        "gateway_generated_tokens",
        "gateway_table_revision",
        "gateway_queue_depth",
        "gateway_running_rows",
        "gateway_kv_tokens_used",
        "gateway_kv_tokens_capacity",
        "gateway_adapters_resident",
        "gateway_adapters_unavailable",
        "gateway_adapter_loads",
        "gateway_adapter_load_failures",
        "gateway_adapter_evictions",
        "gateway_adapter_load_seconds",
        "gateway_adapter_hits",
        "gateway_adapter_misses",
        "gateway_adapter_reads",
        "gateway_adapter_wait_seconds",
        "gateway_adapter_memory_bytes",
        "gateway_engine_healthy",
        "gateway_routes_reload_ok",
        "gateway_routes_reload_timestamp_seconds",
        "gateway_log_reachable",
        "gateway_route_disabled",
        "gateway_route_fallback",
        "gateway_route_override_timestamp_seconds",
        "gateway_fleet_replicas",
        "gateway_fleet_revision",
        "gateway_queue_capacity",
    }
    assert declared <= (await page(world)).keys()
    assert await ask(world) == 200
    families = await page(world)
    assert declared <= families.keys()
    for family in families.values():
        assert family.documentation
        assert family.name.startswith("gateway_")


async def test_labels_are_bounded_whatever_clients_send(world: World) -> None:
    await ask(world)
    await asyncio.gather(
        ask(world, model=STRANGE),
        ask(world, user=STRANGE, metadata={STRANGE: STRANGE}),
        ask(world, stop=[STRANGE]),
        ask(world, **{STRANGE: 1}),
        ask(world, n=5),
    )
    workflows = set(world.gateway.plane.table.decisions)
    targets = {str(d.target) for d in world.gateway.plane.table.decisions.values()}
    for family in (await page(world)).values():
        for sample in family.samples:
            assert STRANGE not in str(sample)
            assert sample.labels.keys() <= LABELS
            assert sample.labels.get("workflow", "triage") in workflows
            assert sample.labels.get("target", "base") in targets
            assert sample.labels.get("reason", "route") in set(Reason)
            assert sample.labels.get("outcome", "ok") in OUTCOMES


async def test_counters_count_what_was_sent_and_generated(world: World) -> None:
    for _ in range(2):
        assert await ask(world, temperature=0) == 200
    families = await page(world)

    def value(family: str, sample: str, **labels: str) -> float:
        (found,) = (
            s.value
            for s in families[family].samples
            if s.name == sample and labels.items() <= s.labels.items()
        )
        return float(found)

    ok = value("gateway_requests", "gateway_requests_total", outcome="ok", workflow="triage")
    assert ok == 2
    seconds = "gateway_time_to_first_token_seconds"
    assert value(seconds, f"{seconds}_count", workflow="triage") == 2
    generated = value(
        "gateway_generated_tokens", "gateway_generated_tokens_total", workflow="triage"
    )
    assert 2 <= generated <= 6
    assert value("gateway_table_revision", "gateway_table_revision") == 1


async def test_the_route_gauges_follow_the_operators_hand(world: World) -> None:
    async def gauge(name: str) -> float:
        return next(
            float(s.value)
            for s in (await page(world))[name].samples
            if s.labels["workflow"] == "triage"
        )

    assert await gauge("gateway_route_disabled") == 0
    await world.order("POST", "/workflows/triage/disable", reason="wrong")
    assert await gauge("gateway_route_disabled") == 1
    await world.order("POST", "/workflows/triage/enable", reason="right")
    await world.order("POST", "/adapters/triage@1/revoke", reason="wrong")
    assert await gauge("gateway_route_disabled") == 0
    assert await gauge("gateway_route_fallback") == 1
