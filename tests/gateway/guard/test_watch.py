"""The watch on a running gateway: it takes a bad route back, says why, and waits for a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.guard.detectors import Answered
from gateway.guard.watch import Watch
from gateway.guard.watched import Arm
from gateway.metrics import Metrics
from gateway.routing.events import RouteDisabled
from tests.gateway.conftest import World, start

GUARDED = """\
version: 1
workflows:
  triage:
    target: triage@{version}
    temperature: 0
    guard:
      on_trip: {on_trip}
      checks:
        labels: {{labels: [net, web]}}
        first_token: {{limit_s: 60}}
  other:
    target: triage@1
    guard: {{checks: {{errors: }}}}
  plain:
    target: base
    guard: {{checks: {{labels: {{labels: [net]}}}}}}
"""


def routes(on_trip: str = "disable", version: int = 1) -> str:
    return GUARDED.format(on_trip=on_trip, version=version)


@pytest.fixture
async def guarded(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "routes.yaml").write_text(routes())
    running = await start(tiny_files, tmp_path)
    yield running
    await running.gateway.stop()


def watch_of(world: World) -> Watch:
    assert world.gateway.watch is not None
    return world.gateway.watch


def reason_of(world: World, workflow: str = "triage") -> str:
    return world.gateway.plane.table.decisions[workflow].reason


def see(world: World, workflow: str, *answers: Answered) -> None:
    decision = world.gateway.plane.table.decisions[workflow]
    for answer in answers:
        watch_of(world).observe(decision, answer)


def seen(world: World, workflow: str) -> int:
    watched = watch_of(world).watched.get((workflow, Arm.CONTROL))
    return 0 if watched is None else watched.panel.evidence()[0].seen


BAD = [Answered("chatter", "ok")] * 40


async def ask(world: World, times: int, workflow: str = "triage") -> None:
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        for _ in range(times):
            body = {"model": workflow, "prompt": "fox", "max_tokens": 3}
            (await http.post("/v1/completions", json=body)).raise_for_status()


async def test_a_route_that_answers_badly_goes_back_by_itself_and_says_why(
    guarded: World,
) -> None:
    await ask(guarded, 12)  # a random model names no label
    await guarded.until(lambda: reason_of(guarded) == "disabled")
    (event, *_) = await guarded.gateway.plane.history()
    assert event.actor == "guard"
    assert isinstance(event.change, RouteDisabled)
    assert "labels: " in event.reason
    assert "answers are bad (100.0%), allowed are 2.0%" in event.reason
    async with httpx.AsyncClient(base_url=guarded.inference) as http:
        page = (await http.get("/metrics")).text
    labels = 'action="disable",arm="control",check="labels",workflow="triage"'
    trip = f"gateway_guard_trips_total{{{labels}}} 1.0"
    assert trip in page


async def test_it_waits_for_a_person_who_enables_and_then_begins_anew(guarded: World) -> None:
    see(guarded, "triage", *BAD)
    await guarded.until(lambda: reason_of(guarded) == "disabled")
    await guarded.order("POST", "/workflows/triage/enable", reason="looked at it")
    assert reason_of(guarded) == "route"
    see(guarded, "triage", Answered("net", "ok"))
    await guarded.until(lambda: seen(guarded, "triage") == 1)
    assert reason_of(guarded) == "route"


async def test_it_goes_back_to_the_target_before_and_then_to_base(guarded: World) -> None:
    plane = guarded.gateway.plane
    guarded.settings.routes.write_text(routes("rollback", version=2))
    await guarded.until(lambda: str(plane.table.decisions["triage"].target) == "triage@2")
    see(guarded, "triage", *BAD)
    await guarded.until(lambda: reason_of(guarded) == "pinned")
    assert str(plane.table.decisions["triage"].target) == "triage@1"
    see(guarded, "triage", *BAD)
    await guarded.until(lambda: reason_of(guarded) == "disabled")
    assert str(plane.table.decisions["triage"].target) == "base"


async def test_a_route_on_base_is_alerted_on_since_there_is_nothing_to_go_back_to(
    guarded: World,
) -> None:
    see(guarded, "plain", *BAD)
    await guarded.until(lambda: bool(watch_of(guarded).watched.get(("plain", Arm.CONTROL))))
    await guarded.until(lambda: bool(watch_of(guarded).watched["plain", Arm.CONTROL].trips))
    assert watch_of(guarded).watched["plain", Arm.CONTROL].trips[0].action == "alert"
    assert reason_of(guarded, "plain") == "route"


async def test_past_the_hourly_limit_it_alerts_only(tiny_files: Path, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes())
    world = await start(tiny_files, tmp_path, guard_trips_per_hour=1)
    try:
        see(world, "triage", *BAD)
        await world.until(lambda: reason_of(world) == "disabled")
        see(world, "other", *[Answered("", "engine_error")] * 40)
        await world.until(lambda: bool(watch_of(world).watched.get(("other", Arm.CONTROL))))
        await world.until(lambda: bool(watch_of(world).watched["other", Arm.CONTROL].trips))
        assert watch_of(world).watched["other", Arm.CONTROL].trips[0].action == "held"
        assert reason_of(world, "other") == "route"
    finally:
        await world.gateway.stop()


async def test_evidence_survives_a_restart(tiny_files: Path, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes())
    world = await start(tiny_files, tmp_path)
    see(world, "triage", Answered("chatter", "ok"))
    await world.until(lambda: seen(world, "triage") == 1)
    await world.gateway.stop()
    world = await start(tiny_files, tmp_path)
    try:
        see(world, "triage", Answered("net", "ok"))
        await world.until(lambda: seen(world, "triage") == 2)
        assert watch_of(world).watched["triage", Arm.CONTROL].panel.evidence()[0].bad == 1
    finally:
        await world.gateway.stop()


async def test_a_full_queue_drops_and_never_waits(guarded: World) -> None:
    see(guarded, "triage", *[Answered("net", "ok")] * 5000)  # the loop had no turn to take any
    async with httpx.AsyncClient(base_url=guarded.inference) as http:
        page = (await http.get("/metrics")).text
    (line,) = [x for x in page.splitlines() if x.startswith("gateway_guard_answers_dropped_total")]
    assert float(line.split()[1]) == 5000 - 4096


async def test_it_ends_at_once_at_whatever_moment_an_answer_comes(
    guarded: World, tmp_path: Path
) -> None:
    plane = guarded.gateway.plane
    decision = plane.table.decisions["triage"]
    for turns in range(12):
        watch = Watch(plane, tmp_path / str(turns), Metrics())
        await watch.start()
        await asyncio.sleep(0.01)  # it waits for its first answer now
        watch.observe(decision, Answered("net", "ok"))
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await watch.close()


async def test_what_an_earlier_version_answered_late_says_nothing_of_this_one(
    guarded: World,
) -> None:
    plane = guarded.gateway.plane
    before = plane.table.decisions["triage"]
    guarded.settings.routes.write_text(routes(version=2))
    await guarded.until(lambda: str(plane.table.decisions["triage"].target) == "triage@2")
    for answer in BAD:
        watch_of(guarded).observe(before, answer)
    see(guarded, "triage", Answered("net", "ok"))
    await guarded.until(lambda: seen(guarded, "triage") > 0)
    assert seen(guarded, "triage") == 1
    assert reason_of(guarded) == "route"


async def test_the_admin_api_tells_the_evidence(guarded: World) -> None:
    see(guarded, "triage", Answered("net", "ok"), Answered("chatter", "ok"))
    await guarded.until(lambda: seen(guarded, "triage") == 2)
    data = (await guarded.order("GET", "/guard")).json()
    (guard,) = data["guards"]
    labels = guard["signals"][0]
    assert (guard["workflow"], guard["target"]) == ("triage", "triage@1")
    assert (labels["name"], labels["seen"], labels["bad"]) == ("labels", 2, 1)
    assert 0 < labels["progress"] < 1
    assert data["unseen"] == ["other", "plain"]


async def test_a_held_trip_acts_once_the_limit_allows_it(tiny_files: Path, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes())
    world = await start(tiny_files, tmp_path, guard_trips_per_hour=1)
    now = [time.time()]
    watch_of(world).acting._clock = lambda: now[0]
    try:
        see(world, "triage", *BAD)
        await world.until(lambda: reason_of(world) == "disabled")
        see(world, "other", *[Answered("", "engine_error")] * 40)
        await world.until(lambda: bool(watch_of(world).watched.get(("other", Arm.CONTROL))))
        await world.until(lambda: bool(watch_of(world).watched["other", Arm.CONTROL].trips))
        assert reason_of(world, "other") == "route"
        now[0] += 3601
        await world.until(lambda: reason_of(world, "other") == "disabled")
        assert [trip.action for trip in watch_of(world).watched["other", Arm.CONTROL].trips] == [
            "held",
            "disable",
        ]
    finally:
        await world.gateway.stop()


async def test_a_held_trip_whose_evidence_has_gone_does_not_act(
    tiny_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text(routes())
    world = await start(tiny_files, tmp_path, guard_trips_per_hour=1)
    now = [time.time()]
    watch_of(world).acting._clock = lambda: now[0]
    try:
        see(world, "triage", *BAD)
        await world.until(lambda: reason_of(world) == "disabled")
        see(world, "other", *[Answered("", "engine_error")] * 4, *[Answered("net", "ok")] * 900)
        await world.until(lambda: seen(world, "other") == 904)
        (trip,) = watch_of(world).watched["other", Arm.CONTROL].trips
        assert trip.action == "held"
        assert not watch_of(world).watched["other", Arm.CONTROL].panel.evidence()[0].enough
        now[0] += 3601
        see(world, "other", Answered("net", "ok"))
        await world.until(lambda: seen(world, "other") == 905)
        assert reason_of(world, "other") == "route"
    finally:
        await world.gateway.stop()
