"""Shadows on a running gateway: asked again in the background, compared, and counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest

from gateway.engine.base import GenerationRequest, SamplingParams
from gateway.guard.detectors import Answered
from gateway.guard.shadow_tally import Outcome, Tally
from gateway.guard.shadows import Shadows
from gateway.model.fingerprint import fingerprint
from gateway.registry.store import Registry
from gateway.routing.table import AdapterRef
from tests import tiny
from tests.gateway.cli.conftest import Cli
from tests.gateway.conftest import World, start

ROUTES = """\
version: 1
workflows:
  triage:
    target: triage@1
    temperature: 0
    shadow: {shadow}
    guard:
      checks:
        labels: {{labels: [net, web], {reference}}}
  plain:
    target: triage@1
"""


async def begin(
    files: Path,
    folder: Path,
    shadow: str = "{target: base, share: 100%}",
    reference: str = "reference: 0.9",
) -> World:
    (folder / "routes.yaml").write_text(ROUTES.format(shadow=shadow, reference=reference))
    return await start(files, folder)


def shadows_of(world: World) -> Shadows:
    assert world.gateway.shadows is not None
    return world.gateway.shadows


def tally_of(world: World) -> Tally | None:
    return next(iter(shadows_of(world).tallies), None)


def count(world: World, outcome: Outcome = Outcome.COMPARED) -> int:
    tally = tally_of(world)
    return 0 if tally is None else tally.outcomes.get(outcome, 0)


async def ask(world: World, times: int = 1, **more: object) -> list[str]:
    texts = []
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        for at in range(times):
            body = {"model": "triage", "prompt": f"fox {at}", "max_tokens": 6, **more}
            answer = (await http.post("/v1/completions", json=body)).raise_for_status()
            texts.append(answer.json()["choices"][0]["text"])
    return texts


async def test_pairs_are_compared_scored_and_shown(tiny_files: Path, tmp_path: Path) -> None:
    world = await begin(tiny_files, tmp_path)
    try:
        (answer,) = await ask(world)
        (expected,) = await ask(world, model="base", temperature=0)
        await world.until(lambda: count(world) == 1)
        tally = tally_of(world)
        assert tally is not None
        assert tally.agreement == float(answer.strip() == expected.strip())
        (shown,) = (await world.order("GET", "/guard")).json()["shadows"]
        assert (shown["target"], shown["shadow"], shown["pairs"]) == ("triage@1", "base", 1)
        assert shown["checks"] == [{"check": "labels", "pairs": 1, "rate": 1.0, "shadow_rate": 1.0}]
        cli = Cli(world.admin, str(world.settings.state))
        assert "triage@1 │ base   │ 100%" in (await cli("guard", "status")).out
        said = (await cli("guard", "explain", "triage")).out
        assert "triage on triage@1, 100% of the requests also asked of base: 1 pairs" in said
        assert "labels: bad 100.0%, the shadow's 100.0%, over 1 pairs" in said
        assert "the target's answers under the shadow: " in said
        page = (await httpx.AsyncClient().get(f"{world.inference}/metrics")).text
        assert 'gateway_shadow_requests_total{outcome="compared",workflow="triage"} 1.0' in page
        assert 'gateway_shadow_bad_total{check="labels",side="shadow",workflow="triage"}' in page
        assert not (tmp_path / "var" / "shadow").exists(), "no text is kept unasked"
    finally:
        await world.gateway.stop()


async def test_an_answer_is_as_likely_as_the_other_model_says_of_its_tokens(
    tiny_files: Path, tmp_path: Path
) -> None:
    world = await begin(tiny_files, tmp_path)
    try:
        await ask(world)
        await world.until(lambda: count(world) == 1)
        tally = tally_of(world)
        assert tally is not None
        engine = world.gateway.engine
        prompt = tuple(engine.text.encode("fox 0"))
        triage = world.gateway.registry.get(AdapterRef("triage", "1"))
        sampling = SamplingParams(6, temperature=0, ignore_eos=False)
        stream = engine.generate(GenerationRequest("r", prompt, sampling, triage))
        tokens = tuple([token async for delta in stream for token in delta.token_ids])
        scoring = SamplingParams(0, prompt_logprobs=0)
        stream = engine.generate(GenerationRequest("r", prompt + tokens, scoring))
        scores = [s.logprob async for delta in stream for s in delta.prompt_logprobs or ()]
        found = tally.likelihoods["target"]
        assert found.tokens == len(tokens)
        assert found.nats == pytest.approx(sum(s or 0 for s in scores[-len(tokens) :]), abs=1e-3)
        assert tally.likelihoods["shadow"].nats < 0
    finally:
        await world.gateway.stop()


async def test_a_candidate_that_no_client_may_see_can_be_a_shadow_until_it_is_revoked(
    tiny_files: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    shutil.copytree(tiny_files, files)
    folder = tiny.make_tiny_adapter(tmp_path / "made", files / "model", seed=9)
    made = Registry(files / "registry").add(
        folder,
        ref=AdapterRef("candidate", "1"),
        base_name="tiny",
        base_fingerprint=fingerprint(files / "model"),
    )
    world = await begin(files, tmp_path, "{target: candidate@1, share: 100%}")
    try:
        await ask(world)
        await world.until(lambda: count(world) == 1)
        assert made.digest in world.gateway.engine.stats().resident_adapters
        order = await world.order("POST", "/adapters/candidate@1/revoke", reason="bad")
        assert order.status_code == 200
        await ask(world)
        await world.until(lambda: count(world, Outcome.UNAVAILABLE) == 1)
    finally:
        await world.gateway.stop()


async def test_texts_are_kept_where_the_route_says_so(tiny_files: Path, tmp_path: Path) -> None:
    world = await begin(
        tiny_files, tmp_path, "{target: base, share: 100%, store_text: true, store_bytes: 10000}"
    )
    try:
        answers = await ask(world, 2)
        kept = tmp_path / "var" / "shadow" / "triage.jsonl"
        await world.until(lambda: kept.exists() and kept.read_text().count("\n") == 2)
        lines = [json.loads(line) for line in kept.read_text().splitlines()]
        assert {line["answer"] for line in lines} == set(answers)
        assert {line["prompt"] for line in lines} == {"fox 0", "fox 1"}
        assert all((one["target"], one["shadow"]) == ("triage@1", "base") for one in lines)
    finally:
        await world.gateway.stop()


async def test_only_the_share_that_the_route_states_is_asked_again(
    tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await begin(tiny_files, tmp_path, "{target: base, share: 25%}")
    try:
        draws = iter([0.1, 0.3, 0.2499, 0.25])
        monkeypatch.setattr(shadows_of(world), "_draw", lambda: next(draws))
        await ask(world, 4)
        await ask(world, model="plain")
        await world.until(lambda: count(world) == 2)
        assert next(draws, None) is None
    finally:
        await world.gateway.stop()


async def test_answers_of_a_fallback_are_not_compared(tiny_files: Path, tmp_path: Path) -> None:
    world = await begin(tiny_files, tmp_path)
    try:
        await world.order("POST", "/workflows/triage/disable", reason="a look")
        await ask(world)
        assert shadows_of(world)._queue.empty()
    finally:
        await world.gateway.stop()


async def test_a_target_worse_than_its_shadow_is_taken_back(
    tiny_files: Path, tmp_path: Path
) -> None:
    # The random models name no label; the regex is one that only the base's answers match.
    world = await begin(tiny_files, tmp_path, reference="reference: shadow, tolerance: 0.05")
    try:
        (said,) = await ask(world, model="base", temperature=0)
        text = (tmp_path / "routes.yaml").read_text()
        check = f"regex: {{pattern: {json.dumps(_escaped(said))}, reference: shadow}}"
        text = text.replace(
            "labels: {labels: [net, web], reference: shadow, tolerance: 0.05}", check
        )
        (tmp_path / "routes.yaml").write_text(text)
        plane = world.gateway.plane
        await world.until(lambda: "regex" in repr(plane.table.decisions["triage"].route.guard))
        for _ in range(60):
            await ask(world)
            if plane.table.decisions["triage"].reason == "disabled":
                break
        await world.until(lambda: plane.table.decisions["triage"].reason == "disabled")
        (event, *_) = await plane.history()
        assert "+100.0% against the shadow's, allowed are +2.0%" in event.reason
    finally:
        await world.gateway.stop()


def _escaped(text: str) -> str:
    return "".join(f"\\U{ord(character):08x}" for character in text.strip())


async def test_what_does_not_fit_or_comes_too_late_is_let_go_and_counted(
    tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await begin(tiny_files, tmp_path)
    shadows = shadows_of(world)
    monkeypatch.setattr(shadows, "_patience_s", -1.0)
    decision = world.gateway.plane.table.decisions["triage"]
    request = GenerationRequest("r", (5, 6), SamplingParams(3, temperature=0))
    try:
        for _ in range(140):  # the loop has no turn to take any
            shadows.observe(decision, request, Answered("net", "ok"), (5,))
        assert count(world, Outcome.FULL) == 12
        await world.until(lambda: count(world, Outcome.LATE) == 128)
    finally:
        await world.gateway.stop()
