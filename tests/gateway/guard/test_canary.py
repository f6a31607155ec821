"""The guard and a canary on a running gateway: it moves what it is content with, takes back what is
bad, and leaves the control arm alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.errors import LogUnavailable
from gateway.guard.detectors import Answered
from gateway.guard.watch import Watch
from gateway.guard.watched import Arm
from gateway.routing.canary import Phase
from gateway.routing.events import CanaryAborted, CanaryPromoted, CanaryStepped
from gateway.routing.fold import canary_of
from gateway.routing.table import Decision
from tests.gateway.conftest import World, start

ROUTES = """\
version: 1
workflows:
  triage:
    target: triage@1
    guard:
      checks:
        labels: {{labels: [net, web]{more}}}
    canary: {{adapter: triage@2, steps: [20, 100], hold: {hold}, min_answers: 5}}
"""


def routes(hold: str = "1s", more: str = "") -> str:
    return ROUTES.format(hold=hold, more=more)


@pytest.fixture
async def tried(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "routes.yaml").write_text(routes())
    running = await start(tiny_files, tmp_path)
    yield running
    await running.gateway.stop()


def watch_of(world: World) -> Watch:
    assert world.gateway.watch is not None
    return world.gateway.watch


def arm(world: World, which: Arm) -> Decision:
    decision = world.gateway.plane.table.decisions["triage"]
    found = decision.canary_arm if which is Arm.CANARY else decision.control_arm
    assert found is not None
    return found


def see(world: World, which: Arm, *answers: Answered) -> None:
    for answer in answers:
        watch_of(world).observe(arm(world, which), answer)


def phase(world: World) -> Phase | None:
    progress = canary_of(world.gateway.plane.state, "triage")
    return None if progress is None else progress.phase


GOOD, BAD = Answered("net", "ok"), Answered("chatter", "ok")


async def test_steps_are_moved_by_time_and_by_enough_good_answers_of_each(tried: World) -> None:
    plane = tried.gateway.plane
    see(tried, Arm.CANARY, *[GOOD] * 5)
    await tried.until(lambda: plane.state.revision == 2)
    (event, *_) = await plane.history()
    assert isinstance(event.change, CanaryStepped)
    assert (event.actor, event.change.share) == ("guard", 100)
    assert event.reason == "20% for 1 s and the guard is content: labels 0.0% of 5"
    shown = (await tried.order("GET", "/routes")).json()["workflows"]["triage"]["canary"]
    assert shown["waits_for"] == ["no answer of this step was seen on this gateway yet"]
    see(tried, Arm.CANARY, *[GOOD] * 4)
    place = ("triage", Arm.CANARY)
    await tried.until(lambda: watch_of(tried).watched[place].panel.evidence()[0].seen == 9)
    shown = (await tried.order("GET", "/routes")).json()["workflows"]["triage"]["canary"]
    assert shown["waits_for"] == ["labels has scored 4 of 5 answers"]
    see(tried, Arm.CANARY, GOOD)
    await tried.until(lambda: phase(tried) is Phase.PROMOTED)
    (event, *_) = await plane.history()
    assert isinstance(event.change, CanaryPromoted)


async def test_a_bad_canary_is_aborted_with_the_evidence_and_its_control_arm_goes_on(
    tried: World,
) -> None:
    plane = tried.gateway.plane
    see(tried, Arm.CONTROL, *[GOOD] * 9)
    see(tried, Arm.CANARY, *[BAD] * 9)
    await tried.until(lambda: phase(tried) is Phase.ABORTED)
    (event, *_) = await plane.history()
    assert isinstance(event.change, CanaryAborted)
    assert event.actor == "guard"
    assert "answers are bad (100.0%), allowed are 2.0%" in event.reason
    decision = plane.table.decisions["triage"]
    assert (str(decision.target), decision.reason, decision.split) == ("triage@1", "route", None)
    guards = (await tried.order("GET", "/guard")).json()
    found = {guard["arm"]: guard for guard in guards["guards"]}
    assert [trip["action"] for trip in found["canary"]["trips"]] == ["abort"]
    assert found["control"]["trips"] == []
    assert found["control"]["signals"][0]["bad"] == 0
    assert guards["acts_in_last_hour"] == 0  # nothing was taken out of service
    await tried.order("POST", "/workflows/triage/resume", reason="looked at it")
    see(tried, Arm.CANARY, GOOD)
    place = ("triage", Arm.CANARY)
    await tried.until(
        lambda: (
            place in watch_of(tried).watched
            and watch_of(tried).watched[place].panel.evidence()[0].seen == 1
        )
    )
    assert phase(tried) is Phase.RUNNING


async def test_a_bad_control_arm_is_disabled_and_no_canary_runs_meanwhile(tried: World) -> None:
    see(tried, Arm.CONTROL, *[BAD] * 9)
    plane = tried.gateway.plane
    await tried.until(lambda: plane.table.decisions["triage"].reason == "disabled")
    assert plane.table.decisions["triage"].canary_arm is None
    assert phase(tried) is Phase.RUNNING


async def test_the_arms_are_compared_while_both_answer(tiny_files: Path, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes("1h", ", reference: control"))
    world = await start(tiny_files, tmp_path)
    try:
        for _ in range(60):
            see(world, Arm.CANARY, BAD)
            see(world, Arm.CONTROL, BAD)  # a bad hour of both is no fault of the canary
        place = ("triage", Arm.CANARY)
        await world.until(lambda: place in watch_of(world).watched)
        await world.until(lambda: watch_of(world).watched[place].panel.evidence()[0].seen == 60)
        assert phase(world) is Phase.RUNNING
        for _ in range(60):
            see(world, Arm.CANARY, BAD)
            see(world, Arm.CONTROL, GOOD)
        await world.until(lambda: phase(world) is Phase.ABORTED)
        (event, *_) = await world.gateway.plane.history()
        assert "against the control's, allowed are +2.0%" in event.reason
    finally:
        await world.gateway.stop()


async def test_while_the_log_is_away_a_bad_canary_is_aborted_here_and_the_log_gets_it_later(
    tried: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = tried.gateway.plane

    def away(*_: object, **__: object) -> None:
        raise LogUnavailable("it is away")

    with monkeypatch.context() as patch:
        for call in ("records", "extend", "wait"):
            patch.setattr(plane._history.log, call, away)
        see(tried, Arm.CANARY, *[BAD] * 9)
        await tried.until(lambda: plane.table.decisions["triage"].canary_arm is None)
        assert [draft.actor for draft in plane.owed] == ["guard"]
    await tried.until(lambda: phase(tried) is Phase.ABORTED)
    assert not plane.owed


async def test_shares_and_aborts_are_metrics(tried: World) -> None:
    async def scraped(name: str) -> float:
        async with httpx.AsyncClient(base_url=tried.inference) as http:
            page = (await http.get("/metrics")).text
        (line,) = [x for x in page.splitlines() if x.startswith(f'{name}{{workflow="triage"}}')]
        return float(line.split()[1])

    assert await scraped("gateway_canary_share") == 0.2
    await tried.order("POST", "/workflows/triage/abort", reason="no")
    assert await scraped("gateway_canary_share") == 0
    assert await scraped("gateway_canary_aborted") == 1
