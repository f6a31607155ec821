"""Probes on a running gateway: both models get the same items, and a loss takes the route back."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway.guard.watched import Arm
from gateway.probes.runner import Probed, ProbeRunner, RoundEnd
from gateway.probes.values import Probe
from gateway.registry.values import AdapterArtifact
from tests.gateway.cli.conftest import Cli
from tests.gateway.conftest import World, start

ROUTES = """\
version: 1
workflows:
  triage:
    target: triage@{version}
    guard: {{checks: {{probes: {{set: tiny, every_s: {every_s}, items: {items}, tolerance: 0.1}}}}}}
  plain:
    target: base
    guard: {{checks: {{probes: {{set: tiny, tolerance: 0.1}}}}}}
"""
PLACE = ("triage", Arm.CONTROL)
# Both models answer something to it.
EASY = {"suite": "easy", "id": "1", "prompt": "the quick", "max_tokens": 6, "check": "empty"}
QUESTIONS = ("the quick", "brown fox", "a gateway sends", "each workflow")


def routes(version: int = 1, every_s: float = 600, items: int = 1) -> str:
    return ROUTES.format(version=version, every_s=every_s, items=items)


def runner_of(world: World) -> ProbeRunner:
    assert world.gateway.probes is not None
    return world.gateway.probes


def reason_of(world: World) -> str:
    return world.gateway.plane.table.decisions["triage"].reason


@pytest.fixture
async def probed(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "routes.yaml").write_text(routes())
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "tiny.jsonl").write_text(json.dumps(EASY) + "\n")
    running = await start(tiny_files, tmp_path, probes=tmp_path / "probes")
    yield running
    await running.gateway.stop()


async def said(world: World, workflow: str, question: str) -> str:
    body = {"model": workflow, "prompt": question, "max_tokens": 6, "temperature": 0}
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        answer = (await http.post("/v1/completions", json=body)).raise_for_status()
    return str(answer.json()["choices"][0]["text"]).strip()


async def write_set(world: World, right: str) -> None:
    """A set on which only the model behind `right` answers well."""
    lines = []
    for at, question in enumerate(QUESTIONS):
        pattern = re.escape(await said(world, right, question))
        lines.append(
            {
                "suite": "odd" if at % 2 else "even",
                "id": str(at),
                "prompt": question,
                "max_tokens": 6,
                "check": "regex",
                "pattern": pattern,
            }
        )
    # Of another length than what stands there: a file's time may be too coarse to tell.
    path = world.settings.probes / "tiny.new"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    path.rename(path.with_suffix(".jsonl"))


async def begin(world: World, right: str) -> None:
    """Have a round of 40 items of that set: another guard is another version."""
    await write_set(world, right)
    world.settings.routes.write_text(routes(items=40))


def round_of_40(world: World) -> Probed | None:
    one = runner_of(world).probed.get(PLACE)
    return one if one is not None and one.rule.items == 40 and one.last is not None else None


async def test_a_target_that_lost_what_the_base_can_is_taken_back_with_the_evidence(
    probed: World,
) -> None:
    await begin(probed, right="base")
    await probed.until(lambda: reason_of(probed) == "disabled")
    (event, *_) = await probed.gateway.plane.history()
    assert event.actor == "guard"
    assert "probes: " in event.reason
    assert "against the base's" in event.reason


async def test_a_target_that_does_better_than_the_base_stays_and_both_are_counted(
    probed: World,
) -> None:
    await begin(probed, right="triage")
    await probed.until(lambda: round_of_40(probed) is not None)
    suites = runner_of(probed).probed[PLACE].suites
    assert sum(tally.pairs for tally in suites.values()) == 40
    for tally in suites.values():
        assert (tally.base, tally.target) == (tally.pairs, 0)
    assert reason_of(probed) == "route"
    shown = (await probed.order("GET", "/guard")).json()
    (one,) = shown["probes"]
    assert (one["workflow"], one["set"], one["last"]) == ("triage", "tiny", "whole")
    assert {suite["suite"]: suite["base"] for suite in one["suites"]} == {"even": 1, "odd": 1}
    cli = Cli(probed.admin, str(probed.settings.state))
    assert (await cli("guard", "explain", "triage", "--json")).json["probes"] == [one]
    said = (await cli("guard", "explain", "triage")).out
    assert "triage on triage@1, probes of set tiny, 40 items every 600 s: 1 rounds" in said
    assert f"even: bad 0.0%, the base's 100.0%, over {suites['even'].pairs} items" in said
    async with httpx.AsyncClient(base_url=probed.inference) as http:
        page = (await http.get("/metrics")).text
    assert 'gateway_probe_rounds_total{end="whole",workflow="triage"} 2.0' in page
    for suite, tally in suites.items():
        labels = f'suite="{suite}",workflow="triage"'
        assert f"gateway_probe_pairs_total{{{labels}}} {tally.pairs}.0" in page
        bad = f'gateway_probe_bad_total{{side="base",{labels}}} {tally.pairs}.0'
        assert bad in page


async def test_a_route_on_base_is_not_probed(probed: World) -> None:
    await probed.until(lambda: PLACE in runner_of(probed).probed)
    assert ("plain", Arm.CONTROL) not in runner_of(probed).probed


async def test_a_canary_is_probed_as_the_target_is(probed: World) -> None:
    canary = "    target: triage@1\n    canary: {adapter: triage@2, steps: [50]}"
    probed.settings.routes.write_text(routes().replace("    target: triage@1", canary))
    runner, place = runner_of(probed), ("triage", Arm.CANARY)
    await probed.until(lambda: place in runner.probed and runner.probed[place].last is not None)
    assert str(runner.probed[place].decision.target) == "triage@2"
    assert sum(tally.pairs for tally in runner.probed[place].suites.values()) == 1
    watch = probed.gateway.watch
    assert watch is not None
    await probed.until(
        lambda: place in watch.watched and watch.watched[place].panel.evidence()[0].seen == 1
    )


async def test_a_set_that_left_the_disk_is_said_and_takes_nothing_back(probed: World) -> None:
    runner = runner_of(probed)
    await probed.until(lambda: PLACE in runner.probed)
    (probed.settings.probes / "tiny.jsonl").unlink()
    runner.probed[PLACE].due = 0.0
    await probed.until(lambda: runner.probed[PLACE].last is RoundEnd.FAILED)
    (one,) = (await probed.order("GET", "/guard")).json()["probes"]
    assert "tiny.jsonl cannot be read" in one["fault"]
    assert reason_of(probed) == "route"


async def test_a_table_that_names_a_set_which_is_not_there_is_refused_with_its_place(
    probed: World,
) -> None:
    answer = await probed.order("PUT", "/table", text=routes().replace("tiny", "misspelt"))
    assert answer.status_code == 422, answer.text
    problems = {p["field"]: p["message"] for p in answer.json()["error"]["problems"]}
    said = problems["workflows.triage.guard.checks.probes.set"]
    assert "misspelt.jsonl cannot be read" in said


async def test_a_new_version_begins_anew_and_at_once(probed: World) -> None:
    runner = runner_of(probed)
    await probed.until(lambda: PLACE in runner.probed)
    probed.settings.routes.write_text(routes(version=2))
    await probed.until(lambda: str(runner.probed[PLACE].decision.target) == "triage@2")
    await probed.until(lambda: runner.probed[PLACE].last is not None)
    assert runner.probed[PLACE].rounds == 1


async def test_while_live_requests_queue_nothing_is_asked_and_the_round_is_cut(
    probed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = probed.gateway.engine.stats
    monkeypatch.setattr(probed.gateway.engine, "stats", lambda: replace(stats(), queue_depth=1))
    probed.settings.routes.write_text(routes(every_s=1))
    runner = runner_of(probed)
    await probed.until(lambda: PLACE in runner.probed and runner.probed[PLACE].last is RoundEnd.CUT)
    assert not runner.probed[PLACE].suites


async def test_what_was_asked_of_a_version_that_left_meanwhile_is_not_counted(
    probed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of(probed)
    await probed.until(lambda: PLACE in runner.probed and runner.probed[PLACE].last is not None)
    one = runner.probed[PLACE]
    before = {suite: tally.pairs for suite, tally in one.suites.items()}
    score = runner._asker.score

    async def leaving(probe: Probe, adapter: AdapterArtifact | None) -> float | None:
        if adapter is not None:
            await probed.order("POST", "/workflows/triage/disable", reason="meanwhile")
        return await score(probe, adapter)

    monkeypatch.setattr(runner._asker, "score", leaving)
    one.due = 0.0
    await probed.until(lambda: one.last is RoundEnd.CHANGED)
    assert {suite: tally.pairs for suite, tally in one.suites.items()} == before
