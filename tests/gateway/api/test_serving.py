"""The whole way of a request, over real HTTP, with the official client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import openai
import pytest

from tests.gateway.conftest import ROUTES, World, start


def client(world: World) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{world.inference}/v1", api_key="none", max_retries=0)


async def ask(world: World, model: str = "triage", **more: object) -> httpx.Response:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "the quick brown fox"}],
        "max_tokens": 8,
        **more,
    }
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        return await http.post("/v1/chat/completions", json=body)


def text(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


async def test_disable_is_obeyed_at_once_and_after_a_restart_and_enable_brings_it_back(
    tiny_files: Path, tmp_path: Path
) -> None:
    world = await start(tiny_files, tmp_path)
    tuned = await ask(world)
    assert tuned.headers["x-gateway-target"] == "triage@1"
    assert tuned.headers["x-gateway-reason"] == "route"
    base = await ask(world, "base", temperature=0)
    assert text(base) != text(tuned)
    done = await world.order("POST", "/workflows/triage/disable", reason="looks wrong")
    assert done.json()["changes"][0]["after"] == {
        "target": "base",
        "reason": "disabled",
        "fallback": "base",
        "split": None,
    }
    after = await ask(world)
    assert after.headers["x-gateway-target"] == "base"
    assert after.headers["x-gateway-reason"] == "disabled"
    assert text(after) == text(base)
    await world.gateway.stop()

    world = await start(tiny_files, tmp_path)
    try:
        assert (await ask(world)).headers["x-gateway-reason"] == "disabled"
        await world.order("POST", "/workflows/triage/enable", reason="fine again")
        back = await ask(world)
        assert back.headers["x-gateway-target"] == "triage@1"
        assert text(back) == text(tuned)
    finally:
        await world.gateway.stop()


async def test_the_official_client_streams_what_it_gets_whole(world: World) -> None:
    api = client(world)
    messages = [{"role": "user", "content": "日本語 🙂 quick"}]
    whole = await api.chat.completions.create(
        model="triage",
        messages=messages,  # type: ignore[arg-type]
        max_tokens=24,
        temperature=0,
    )
    stream = await api.chat.completions.create(  # type: ignore[call-overload]
        model="triage",
        messages=messages,
        max_tokens=24,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens  # type: ignore[union-attr]
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    joined = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert joined == whole.choices[0].message.content


async def test_a_route_schema_constrains_the_answer(world: World) -> None:
    answer = json.loads(text(await ask(world, "facts", max_tokens=60, temperature=1, seed=3)))
    assert set(answer) == {"ok"}
    assert isinstance(answer["ok"], bool)


async def test_seeded_answers_repeat_and_choices_differ(world: World) -> None:
    first = (await ask(world, temperature=1.5, seed=7, n=2)).json()["choices"]
    second = (await ask(world, temperature=1.5, seed=7, n=2)).json()["choices"]
    assert [c["message"] for c in first] == [c["message"] for c in second]
    assert first[0]["message"] != first[1]["message"]


async def test_echo_scores_a_prompt_of_token_ids(world: World) -> None:
    prompt = [5, 9, 20, 31]
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        body = {"model": "triage", "prompt": prompt, "max_tokens": 1, "logprobs": 1, "echo": True}
        answer = (await http.post("/v1/completions", json={**body, "temperature": 0})).json()
    scores = answer["choices"][0]["logprobs"]
    assert len(scores["token_logprobs"]) == len(prompt) + 1
    assert scores["token_logprobs"][0] is None
    assert all(value <= 0 for value in scores["token_logprobs"][1:])


@pytest.mark.usefixtures("slow_steps")
async def test_a_client_that_goes_away_frees_its_row(world: World) -> None:
    body = {
        "model": "base",
        "messages": [{"role": "user", "content": "fox"}],
        "max_tokens": 480,
        "temperature": 0,
        "stream": True,
    }
    engine = world.gateway.engine
    async with (
        httpx.AsyncClient(base_url=world.inference, timeout=60) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        await anext(response.aiter_lines())
    await world.until(lambda: engine.stats().running_rows == 0)
    assert engine.stats().tokens_generated < 480


@pytest.mark.usefixtures("slow_steps")
async def test_a_stream_is_ended_by_name_when_its_route_is_restarted(world: World) -> None:
    body = {
        "model": "triage",
        "messages": [{"role": "user", "content": "fox"}],
        "max_tokens": 400,
        "temperature": 0,
        "n": 4,
        "stream": True,
    }
    lines: list[str] = []
    async with (
        httpx.AsyncClient(base_url=world.inference, timeout=60) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        async for line in response.aiter_lines():
            lines.append(line)
            if len(lines) == 1:
                await world.order(
                    "POST", "/workflows/triage/disable", reason="now", in_flight="restart"
                )
    assert any("route_changed" in line for line in lines)
    assert "data: [DONE]" not in lines


async def test_a_saved_edit_is_taken_in_and_a_broken_one_changes_nothing(world: World) -> None:
    plane, path = world.gateway.plane, world.settings.routes
    before = plane.table.revision
    path.write_text(ROUTES.replace("triage@1", "triage@2"))
    await world.until(lambda: plane.table.revision == before + 1)
    assert (await ask(world)).headers["x-gateway-target"] == "triage@2"
    path.write_text(ROUTES.replace("max_tokens: 400", "max_tokn: 400"))
    await world.until(lambda: not plane.file_status.ok)
    problem = plane.file_status.problems[0]
    assert (problem.line, problem.field) == (5, "workflows.triage.max_tokn")
    assert "max_tokens" in problem.message
    assert plane.table.revision == before + 1
    rolled = await world.order("POST", "/workflows/triage/rollback", reason="worse")
    assert rolled.json()["changes"][0]["after"]["reason"] == "pinned"
    assert (await ask(world)).headers["x-gateway-target"] == "triage@1"
    path.write_text(ROUTES.replace("triage@1", "triage@2") + "# edited\n")
    await world.until(lambda: plane.file_status.ok)
    assert (await ask(world)).headers["x-gateway-reason"] == "pinned"


async def test_conflicting_commands_say_who_came_first(world: World) -> None:
    revision = world.gateway.plane.table.revision
    first = await world.order(
        "POST",
        "/workflows/triage/disable",
        reason="a",
        actor="ann",
        expected_revision=revision,
    )
    assert first.status_code == 200
    second = await world.order(
        "POST", "/workflows/facts/disable", reason="b", actor="bob", expected_revision=revision
    )
    error = second.json()["error"]
    assert (second.status_code, error["code"], error["actor"]) == (409, "revision_conflict", "ann")


async def test_metrics_never_carry_what_a_client_sends(world: World) -> None:
    await ask(world)
    await ask(world, "no-such-workflow-xyz")
    async with httpx.AsyncClient(base_url=world.inference) as http:
        page = (await http.get("/metrics")).text
    assert 'outcome="ok",reason="route",target="triage@1",workflow="triage"' in page
    assert "no-such-workflow-xyz" not in page
    assert 'gateway_route_disabled{workflow="triage"} 0.0' in page


async def test_a_revoked_adapter_leaves_service_at_once(world: World) -> None:
    await world.order("POST", "/adapters/triage@1/revoke", reason="bad data")
    answer = await ask(world)
    assert answer.headers["x-gateway-target"] == "base"
    assert answer.headers["x-gateway-reason"] == "fallback"


@pytest.mark.usefixtures("slow_steps")
async def test_prompts_of_one_request_are_never_answered_by_two_models(world: World) -> None:
    # Five prompts for four rows: the last one is restarted when the others have ended.
    body = {"prompt": [[5, 9, 20 + n] for n in range(5)], "max_tokens": 40, "temperature": 0}
    engine = world.gateway.engine

    async def complete(workflow: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
            return await http.post("/v1/completions", json={**body, "model": workflow})

    base = await complete("base")
    asking = asyncio.create_task(complete("triage"))
    await world.until(lambda: engine.stats().running_rows == 4)
    await world.until(
        lambda: 0 < engine.stats().running_rows < 4 and engine.stats().queue_depth == 0
    )
    done = await world.order("POST", "/workflows/triage/disable", reason="now", in_flight="restart")
    assert done.status_code == 200
    answer = await asking
    assert answer.headers["x-gateway-target"] == "base"
    texts = [choice["text"] for choice in answer.json()["choices"]]
    assert texts == [choice["text"] for choice in base.json()["choices"]]
