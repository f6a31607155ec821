"""What is not supported or not well formed is refused by name, as an OpenAI error object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.engine.embedded.rows import Step
from gateway.engine.embedded.runner import StepResult
from tests.gateway.conftest import World, start

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "triage", "messages": [{"role": "user", "content": "fox"}], "max_tokens": 4},
    TEXT: {"model": "triage", "prompt": "fox", "max_tokens": 4},
}
UNSUPPORTED: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "best_of": 2,
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "logit_bias": {"50256": -100},
    "modalities": ["text", "audio"],
    "parallel_tool_calls": True,
    "prediction": {"type": "content", "content": "x"},
    "prompt_cache_key": "k",
    "reasoning_effort": "low",
    "safety_identifier": "s",
    "service_tier": "auto",
    "store": True,
    "suffix": "end",
    "tool_choice": "auto",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "verbosity": "low",
    "web_search_options": {},
    "temprature": 0.5,
}
TEXT_ONLY = {"echo": True, "prompt": "x"}
CHAT_ONLY = {
    "max_completion_tokens": 3,
    "top_logprobs": 2,
    "messages": [{"role": "user", "content": "x"}],
}


@pytest.fixture(scope="module")
async def shared(
    tiny_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One gateway for requests that change nothing."""
    running = await start(tiny_files, tmp_path_factory.mktemp("refusals"))
    yield running
    await running.gateway.stop()


async def post(world: World, path: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        return await http.post(path, **more)


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error object of an answer that has the status and OpenAI's four fields."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert isinstance(error["message"], str)
    assert answer.headers["x-request-id"]
    return error


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_every_unsupported_field_is_refused_by_name(shared: World, path: str) -> None:
    other = CHAT_ONLY if path == TEXT else TEXT_ONLY
    for field, value in {**UNSUPPORTED, **other}.items():
        answer = await post(shared, path, json={**BODIES[path], field: value})
        error = error_of(answer, 400)
        assert error["param"] == field, error
        assert field in error["message"]
        assert error["type"] == "invalid_request_error"
        if field != "store":  # known, for its harmless value alone
            assert error["code"] == "unsupported_parameter"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_labels_and_absent_values_are_taken(shared: World, path: str) -> None:
    absent = dict.fromkeys(UNSUPPORTED.keys() - {"temprature"})
    labels = {"user": "u-1", "metadata": {"job": "7"}, "store": False, "stop": None, "seed": None}
    answer = await post(shared, path, json={**BODIES[path], **absent, **labels})
    assert answer.status_code == 200, answer.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": "fox"}, "messages"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages.0.content"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages.0.content",
        ),
        (
            CHAT,
            {"messages": [{"role": "assistant", "content": "x", "tool_calls": [{}]}]},
            "messages.0.tool_calls",
        ),
        (CHAT, {"temperature": "hot"}, "temperature"),
        (CHAT, {"temperature": "0.5"}, "temperature"),
        (CHAT, {"temperature": 2.1}, "temperature"),
        (CHAT, {"top_p": 0}, "top_p"),
        (CHAT, {"stream": "yes"}, "stream"),
        (CHAT, {"stream_options": {"include_usage": True}}, None),
        (CHAT, {"stream": True, "stream_options": {"chunk_size": 3}}, "stream_options.chunk_size"),
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"n": 5}, "n"),
        (CHAT, {"seed": "one"}, "seed"),
        (CHAT, {"stop": ["a"] * 17}, "stop"),
        (CHAT, {"stop": 7}, "stop"),
        (CHAT, {"max_tokens": -1}, "max_tokens"),
        (CHAT, {"max_tokens": 2.5}, "max_tokens"),
        (CHAT, {"max_tokens": 401}, "max_tokens"),
        (CHAT, {"max_completion_tokens": 401}, "max_completion_tokens"),
        (CHAT, {"top_logprobs": 3}, None),
        (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (CHAT, {"frequency_penalty": 3}, "frequency_penalty"),
        (CHAT, {"response_format": {"type": "yaml"}}, "response_format.type"),
        (CHAT, {"response_format": {"type": "json_schema"}}, "response_format"),
        (
            CHAT,
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
            "response_format",
        ),
        (CHAT, {"model": 7}, "model"),
        (CHAT, {"model": ""}, "model"),
        (TEXT, {"prompt": 7}, "prompt"),
        (TEXT, {"prompt": []}, "prompt"),
        (TEXT, {"prompt": ""}, "prompt"),
        (TEXT, {"prompt": [[]]}, "prompt"),
        (TEXT, {"prompt": ["a", 1]}, "prompt"),
        (TEXT, {"prompt": [True]}, "prompt"),
        (TEXT, {"prompt": [400]}, "prompt"),
        (TEXT, {"prompt": [-1]}, "prompt"),
        (TEXT, {"logprobs": True}, "logprobs"),
        (TEXT, {"logprobs": 21}, "logprobs"),
        (TEXT, {"prompt": ["a", "b"], "stream": True}, "stream"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_wrong_values_are_told_by_field(
    shared: World, path: str, change: dict[str, Any], param: str | None
) -> None:
    error = error_of(await post(shared, path, json={**BODIES[path], **change}), 400)
    assert error["param"] == param, error
    assert error["type"] == "invalid_request_error"
    named = next(iter(change)) if param is None else param.split(".")[-1]
    assert named in error["message"] or "JSON schema" in error["message"], error


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"model": "triage", ', "bad_json"),
        (b"", "invalid_value"),
        (b'"triage"', "invalid_value"),
        (b"[]", "invalid_value"),
        (b"\xff\xfe", None),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    shared: World, path: str, content: bytes, code: str | None
) -> None:
    headers = {"content-type": "application/json"}
    error = error_of(await post(shared, path, content=content, headers=headers), 400)
    assert code is None or error["code"] == code
    assert "body" in error["message"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "fox " * 900}]}, "messages"),
        (TEXT, {"prompt": [7] * 500}, "prompt"),
        (TEXT, {"prompt": [7] * 490, "max_tokens": 11}, "max_tokens"),
    ],
)
async def test_what_does_not_fit_the_context_is_told_with_the_limit(
    shared: World, path: str, change: dict[str, Any], param: str
) -> None:
    error = error_of(await post(shared, path, json={**BODIES[path], **change}), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", param)
    assert "500" in error["message"] or "10 tokens" in error["message"]


@pytest.mark.asyncio(loop_scope="module")
async def test_unknown_workflow_names_the_nearest_on_every_path(shared: World) -> None:
    for path, body in BODIES.items():
        error = error_of(await post(shared, path, json={**body, "model": "triag"}), 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "'triage'" in error["message"]
    async with httpx.AsyncClient(base_url=shared.inference) as http:
        error = error_of(await http.get("/v1/models/triag"), 404)
    assert error["code"] == "model_not_found"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/v1/embeddings", 404),
        ("GET", "/", 404),
    ],
)
async def test_unknown_paths_and_methods_are_error_objects(
    shared: World, method: str, path: str, status: int
) -> None:
    async with httpx.AsyncClient(base_url=shared.inference) as http:
        answer = await http.request(method, path)
    assert path in error_of(answer, status)["message"]
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_clients_own_request_id_is_kept_where_it_is_sane(shared: World) -> None:
    for given, kept in (("job-7:a", True), ("a b", False), ("x" * 129, False)):
        answer = await post(shared, CHAT, json=BODIES[CHAT], headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) == kept


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_step_is_a_500_with_the_request_id_and_nothing_internal(
    world: World, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    runner = world.engine._runner
    run = runner.run

    def fails(step: Step) -> StepResult:
        raise RuntimeError("/secret/path of the weights")

    monkeypatch.setattr(runner, "run", fails)
    answer = await post(world, CHAT, json={**BODIES[CHAT], "stream": stream})
    error = error_of(answer, 500)
    assert error["type"] == "server_error"
    assert answer.headers["x-request-id"] in error["message"]
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    monkeypatch.setattr(runner, "run", run)
    assert (await post(world, CHAT, json=BODIES[CHAT])).status_code == 200


async def test_a_step_that_fails_midway_ends_the_stream_with_an_error_event(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = world.engine._runner
    run = runner.run
    steps = 0

    def fails_later(step: Step) -> StepResult:
        nonlocal steps
        steps += 1
        if steps > 4:
            raise RuntimeError("/secret/path of the weights")
        return run(step)

    monkeypatch.setattr(runner, "run", fails_later)
    body = {**BODIES[CHAT], "model": "base", "max_tokens": 200, "stream": True}
    answer = await post(world, CHAT, json={**body, "logprobs": True})
    assert answer.status_code == 200
    assert "event: error" in answer.text
    assert answer.headers["x-request-id"] in answer.text.split("event: error")[1]
    assert "[DONE]" not in answer.text
    assert "secret" not in answer.text


async def test_a_fault_of_the_gateway_itself_is_a_500_with_the_request_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise KeyError("/secret/path")

    monkeypatch.setattr(world.gateway.engine.text, "encode_chat", fails)
    error = error_of(
        await post(world, CHAT, json=BODIES[CHAT], headers={"x-request-id": "r7"}), 500
    )
    assert error["request_id"] == "r7"
    assert "secret" not in str(error)


async def test_a_full_queue_is_429_and_says_when_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {**BODIES[CHAT], "model": "base", "max_tokens": 300, "temperature": 1}
    answers = await asyncio.gather(*(post(world, CHAT, json=body) for _ in range(30)))
    full = [answer for answer in answers if answer.status_code == 429]
    assert full
    for answer in full:
        error = error_of(answer, 429)
        assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
    assert {answer.status_code for answer in answers} == {200, 429}
