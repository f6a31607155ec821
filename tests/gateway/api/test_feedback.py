"""Feedback over real HTTP: joined to what answered, counted once, weighed by the guard."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.access import commands
from gateway.access.secret import new_key
from gateway.access.values import ClientGrant
from gateway.control.values import Command
from gateway.guard.watched import Arm
from tests.gateway.conftest import World, start

ROUTES = """\
version: 1
workflows:
  triage:
    target: triage@{version}
    temperature: 0
    guard: {{checks: {{feedback: {{reference: 0.1, tolerance: 0.1}}}}}}
  facts: {{target: base}}
"""


@pytest.fixture
async def rated(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "routes.yaml").write_text(ROUTES.format(version=1))
    running = await start(tiny_files, tmp_path, feedback_requests=60)
    yield running
    await running.gateway.stop()


async def key_for(world: World, name: str, *workflows: str, per_minute: int | None = None) -> str:
    made, text = new_key(name, ClientGrant(workflows, requests_per_minute=per_minute))
    await world.gateway.plane.amend(lambda state: commands.create(state, made), Command("ada"))
    return text


def client(world: World, key: str = "none") -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=world.inference, timeout=60, headers={"authorization": f"Bearer {key}"}
    )


async def ask(http: httpx.AsyncClient, workflow: str = "triage", **more: Any) -> httpx.Response:
    body = {"model": workflow, "prompt": "fox", "max_tokens": 2, **more}
    return (await http.post("/v1/completions", json=body)).raise_for_status()


async def rate(http: httpx.AsyncClient, request_id: str, **said: Any) -> httpx.Response:
    return await http.post("/v1/feedback", json={"request_id": request_id, **said})


async def metrics(world: World) -> str:
    async with httpx.AsyncClient(base_url=world.inference) as http:
        return (await http.get("/metrics")).text


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def sent_back(answer: httpx.Response) -> dict[str, Any]:
    return {
        "workflow": answer.headers["x-gateway-workflow"],
        "target": answer.headers["x-gateway-target"],
        "revision": int(answer.headers["x-gateway-revision"]),
    }


async def test_feedback_tells_what_it_was_joined_to_and_is_counted_once(rated: World) -> None:
    async with client(rated) as http:
        answer = await ask(http)
        request_id = answer.headers["x-request-id"]
        taken = await rate(http, request_id, score=0.25)
        assert taken.status_code == 200
        assert taken.json() == {
            "object": "feedback",
            "request_id": request_id,
            **sent_back(answer),
            "reason": "route",
            "score": 0.25,
            "repeated": False,
        }
        again = await rate(http, request_id, score=0.25)
        assert again.json()["repeated"]
        assert code_of(await rate(http, request_id, label="good")) == (409, "feedback_given")
    page = await metrics(rated)
    labels = '{target="triage@1",workflow="triage"}'
    assert f"gateway_feedback_total{labels} 1.0" in page
    assert f"gateway_feedback_score_total{labels} 0.25" in page


async def test_an_answers_own_id_will_do_also_of_a_stream(rated: World) -> None:
    sdk = openai.AsyncOpenAI(base_url=f"{rated.inference}/v1", api_key="none")
    messages: Any = [{"role": "user", "content": "the quick brown fox"}]
    stream = await sdk.chat.completions.create(
        model="triage", messages=messages, max_tokens=2, stream=True
    )
    ids = {chunk.id async for chunk in stream}
    await sdk.close()
    async with client(rated) as http:
        taken = await rate(http, ids.pop(), label="bad")
    assert (taken.status_code, taken.json()["score"]) == (200, 0)


async def test_bad_feedback_takes_the_route_back_and_says_why(rated: World) -> None:
    async with client(rated) as http:
        for _ in range(40):
            answer = await ask(http)
            if answer.headers["x-gateway-reason"] != "route":
                break
            await rate(http, answer.headers["x-request-id"], label="bad")
    await rated.until(
        lambda: rated.gateway.plane.table.decisions["triage"].reason.value == "disabled"
    )
    (event, *_) = await rated.gateway.plane.history()
    assert event.actor == "guard"
    assert "feedback: " in event.reason


async def test_feedback_on_an_earlier_version_says_nothing_of_this_one(rated: World) -> None:
    plane = rated.gateway.plane
    async with client(rated) as http:
        old = [(await ask(http)).headers["x-request-id"] for _ in range(40)]
        rated.settings.routes.write_text(ROUTES.format(version=2))
        await rated.until(lambda: str(plane.table.decisions["triage"].target) == "triage@2")
        for request_id in old:
            assert (await rate(http, request_id, label="bad")).json()["target"] == "triage@1"
        new = (await ask(http)).headers["x-request-id"]
        await rate(http, new, label="good")
    watch = rated.gateway.watch
    assert watch is not None
    await rated.until(
        lambda: (
            ("triage", Arm.CONTROL) in watch.watched
            and watch.watched["triage", Arm.CONTROL].panel.evidence()[0].seen > 0
        )
    )
    (evidence,) = watch.watched["triage", Arm.CONTROL].panel.evidence()
    assert (evidence.seen, evidence.bad) == (1, 0)


async def test_a_request_that_is_not_known_here_names_the_limit_and_the_remedy(
    rated: World,
) -> None:
    async with client(rated) as http:
        first = (await ask(http)).headers["x-request-id"]
        for _ in range(60):
            await ask(http, max_tokens=1)
        for request_id in (first, "never-asked"):
            refused = await rate(http, request_id, label="bad")
            assert code_of(refused) == (404, "unknown_request")
            message = refused.json()["error"]["message"]
            assert "the last 60 answers, for 86400 s" in message
            assert "x-gateway-revision" in message
    page = await metrics(rated)
    assert "gateway_feedback_unknown_total 2.0" in page


async def test_headers_sent_back_let_another_gateway_take_it_for_the_live_version_only(
    rated: World,
) -> None:
    async with client(rated) as http:
        back = sent_back(await ask(http))
        taken = await rate(http, "of-another", label="bad", **back)
        assert taken.json()["revision"] == back["revision"]
        assert (await rate(http, "of-another", label="bad", **back)).json()["repeated"]
        assert code_of(await rate(http, "of-another", score=1, **back)) == (409, "feedback_given")
        for wrong in ({"target": "triage@2"}, {"revision": 10_000}, {"workflow": "none"}):
            refused = await rate(http, "of-a-third", label="bad", **{**back, **wrong})
            assert code_of(refused) == (404, "unknown_request")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"score": 1, "label": "good"},
        {"score": 1.5},
        {"score": "1"},
        {"label": "so-so"},
        {"score": 1, "workflow": "triage"},
        {"score": 1, "comment": "x" * 2001},
        {"score": 1, "stars": 5},
        {"score": 1, "request_id": "no such id"},
    ],
    ids=str,
)
async def test_what_is_no_feedback_is_refused(rated: World, said: dict[str, Any]) -> None:
    async with client(rated) as http:
        answer = await http.post("/v1/feedback", json={"request_id": "an-id", **said})
    assert answer.status_code == 400


async def test_a_key_rates_only_answers_of_workflows_that_it_may_use(rated: World) -> None:
    both = await key_for(rated, "both", "*")
    facts = await key_for(rated, "facts", "facts")
    async with client(rated, both) as http:
        answer = await ask(http)
    request_id = answer.headers["x-request-id"]
    async with client(rated) as http:
        assert (await rate(http, request_id, label="bad")).status_code == 401
    async with client(rated, facts) as http:
        assert code_of(await rate(http, request_id, label="bad")) == (404, "unknown_request")
        refused = await rate(http, request_id, label="bad", **sent_back(answer))
        assert code_of(refused) == (404, "unknown_request")
    async with client(rated, both) as http:
        assert (await rate(http, request_id, label="good")).json()["repeated"] is False


async def test_feedback_counts_against_its_keys_limits(rated: World) -> None:
    key = await key_for(rated, "slow", "*", per_minute=2)
    async with client(rated, key) as http:
        request_id = (await ask(http)).headers["x-request-id"]
        assert (await rate(http, request_id, label="good")).status_code == 200
        refused = await rate(http, request_id, label="good")
    assert code_of(refused) == (429, "rate_limit_exceeded")


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_comment_reaches_the_log_only_where_the_operator_allows_it(
    allowed: bool, tiny_files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = await start(tiny_files, tmp_path, feedback_comments=allowed)
    try:
        async with client(world) as http:
            request_id = (await ask(http)).headers["x-request-id"]
            with caplog.at_level(logging.INFO, "gateway.feedback"):
                await rate(http, request_id, score=0.5, comment="told in confidence")
    finally:
        await world.gateway.stop()
    (fields,) = [vars(r)["fields"] for r in caplog.records if r.name == "gateway.feedback"]
    assert fields["request_id"] == request_id
    assert fields["score"] == 0.5
    assert ("told in confidence" in str(fields)) == allowed
