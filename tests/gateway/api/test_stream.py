"""The live stream: what a watcher is told, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from gateway.access.values import Role
from gateway.api.pulse import Pulse
from gateway.control.values import Command
from gateway.routing import commands
from gateway.routing.events import Change
from gateway.routing.fold import RoutingState
from tests.gateway.api.test_operator_keys import call, make
from tests.gateway.conftest import World

Told = tuple[str, dict[str, Any]]


def flip(number: int) -> Callable[[RoutingState], Change]:
    """A disable and an enable in turn."""
    if number % 2:
        return lambda state: commands.enable(state, "triage")
    return lambda state: commands.disable(state, "triage", "finish")


async def messages(answer: httpx.Response) -> AsyncIterator[Told]:
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def watching(world: World, key: str | None = None) -> AsyncIterator[AsyncIterator[Told]]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    url = f"{world.admin}/admin/v1/stream"
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        yield messages(answer)


async def first(told: AsyncIterator[Told], wanted: str) -> dict[str, Any]:
    """The next message of that name."""
    async for name, data in told:
        if name == wanted:
            return data
    raise AssertionError(f"the stream ended without {wanted}")


async def ask(world: World, workflow: str) -> None:
    body = {"model": workflow, "messages": [{"role": "user", "content": "go"}], "max_tokens": 2}
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{world.inference}/v1/chat/completions", json=body)
        assert answer.status_code == 200


async def test_a_watcher_is_greeted_and_told_of_a_change_at_once(world: World) -> None:
    async with watching(world) as told:
        hello = await first(told, "hello")
        assert (hello["role"], hello["key"], hello["revision"]) == ("approver", None, 1)
        await world.order("POST", "/workflows/triage/disable", reason="nonsense", actor="ada")
        moved = await first(told, "moved")
        assert (moved["revision"], moved["actor"], moved["reason"]) == (2, "ada", "nonsense")
        (change,) = moved["changes"]
        assert (change["workflow"], change["after"]["target"]) == ("triage", "base")


async def test_rates_are_told_by_workflow_and_target(world: World) -> None:
    async with watching(world) as told:
        await first(told, "rates")  # from here on
        await ask(world, "triage")
        await ask(world, "base")
        seen: dict[str, dict[str, float]] = {}
        while set(seen) != {"triage", "base"}:
            rates = await first(told, "rates")
            for workflow, targets in rates["workflows"].items():
                for target, rate in targets.items():
                    ended = seen.setdefault(workflow, {}).get(target, 0.0)
                    seen[workflow][target] = ended + rate["per_s"] * rates["over_s"]
                    assert rate["failed_per_s"] == 0
        assert seen == {
            "triage": {"triage@1": pytest.approx(1, abs=0.01)},
            "base": {"base": pytest.approx(1, abs=0.01)},
        }


async def test_health_names_the_replicas(world: World) -> None:
    async with watching(world) as told:
        health = await first(told, "health")
        assert (health["ready"], health["log"]["ok"], health["routes_file"]["ok"]) == (
            "ok",
            True,
            True,
        )
        assert [one["revision"] for one in health["replicas"]] == [1]


async def test_a_guard_is_told_of_when_it_saw_something(world: World) -> None:
    routes = world.settings.routes
    text = routes.read_text().replace(
        "temperature: 0\n", "temperature: 0\n    guard: {checks: {empty: }}\n"
    )
    async with watching(world) as told:
        routes.write_text(text)
        await first(told, "moved")
        await ask(world, "triage")
        (shown,) = (await first(told, "guard"))["guards"]
        assert (shown["workflow"], shown["signals"][0]["seen"]) == ("triage", 1)


async def test_the_stream_ends_with_the_key_that_opened_it(world: World) -> None:
    boss = await make(world, "boss", Role.APPROVER)
    viewer = await make(world, "dashboard", Role.VIEWER, boss)
    async with watching(world, viewer) as told:
        assert (await first(told, "hello"))["role"] == "viewer"
        await call(world, boss, "POST", "/keys/dashboard/revoke", reason="lost")
        assert [name async for name, _ in told if name == "moved"] == []  # it was not told any more


async def test_an_open_stream_ends_when_the_first_operator_key_shuts_the_door(
    world: World,
) -> None:
    async with watching(world) as told:
        await first(told, "hello")
        await make(world, "boss", Role.APPROVER)
        async for _ in told:
            pass


async def test_without_a_key_there_is_no_stream_where_keys_are_asked_for(world: World) -> None:
    await make(world, "boss", Role.APPROVER)
    assert (await call(world, None, "GET", "/stream")).status_code == 401


async def test_a_watcher_that_does_not_read_is_let_go_and_the_others_go_on(world: World) -> None:
    pulse = world.gateway.pulse
    assert isinstance(pulse, Pulse)
    asleep, awake = pulse.messages(), pulse.messages()
    await anext(asleep)
    await anext(awake)
    for number in range(200):
        await world.gateway.plane.amend(flip(number), Command("ada", ""))
        while (await anext(awake)).name != "moved":
            pass
    assert len([message async for message in asleep]) <= 64
    await awake.aclose()


async def test_nobody_watches_nothing_is_read(world: World) -> None:
    pulse = world.gateway.pulse
    assert pulse is not None
    before = asyncio.all_tasks()
    watcher = pulse.messages()
    await anext(watcher)
    assert [t.get_name() for t in asyncio.all_tasks() - before].count("pulse") == 1
    await watcher.aclose()
    await world.until(lambda: not [t for t in asyncio.all_tasks() if t.get_name() == "pulse"])
