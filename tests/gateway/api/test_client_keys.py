"""Client keys over real HTTP: who is let in, to what, and how much."""

from __future__ import annotations

from pathlib import Path

import httpx
import openai
import pytest

from gateway.access import commands
from gateway.access.keyring import Client
from gateway.access.secret import new_key
from gateway.access.values import ClientGrant, Grant, OperatorGrant, Role
from gateway.control.values import Command
from gateway.log.sqlite import FILE_NAME, SqliteLog
from gateway.routing.events import Draft
from tests.gateway.conftest import World

ADA = Command("ada", "for a test")


async def make(world: World, name: str, grant: Grant | None = None) -> str:
    key, text = new_key(name, grant or ClientGrant())
    await world.gateway.plane.amend(lambda state: commands.create(state, key), ADA)
    return text


async def call(
    world: World, key: str | None, path: str = "/v1/chat/completions", **more: object
) -> httpx.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    body = {
        "model": "triage",
        "messages": [{"role": "user", "content": "the quick brown fox"}],
        "max_tokens": 2,
        **more,
    }
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        if path != "/v1/chat/completions":
            return await http.get(path, headers=headers)
        return await http.post(path, json=body, headers=headers)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["message"]
    return answer.status_code, error["code"]


async def test_the_first_client_key_shuts_the_door_and_its_revocation_does_not_open_it(
    world: World,
) -> None:
    assert (await call(world, None)).status_code == 200
    assert (await call(world, "none")).status_code == 200  # SDKs always send some token
    key = await make(world, "app")
    assert (await call(world, key)).status_code == 200
    missing = await call(world, None)
    assert refusal(missing) == (401, "missing_api_key")
    assert missing.headers["www-authenticate"] == "Bearer"
    assert refusal(await call(world, key[:-1] + "x")) == (401, "invalid_api_key")
    await world.gateway.plane.amend(lambda state: commands.revoke(state, "app"), ADA)
    assert refusal(await call(world, key)) == (401, "invalid_api_key")
    assert refusal(await call(world, None)) == (401, "missing_api_key")


async def test_a_key_that_another_process_made_is_live_without_a_restart(world: World) -> None:
    key, text = new_key("app", ClientGrant())
    log = SqliteLog(Path(str(world.settings.state)) / FILE_NAME)
    log.append(
        Draft(commands.create(world.gateway.plane.state, key), "cli", "", 1.0), expected=log.head()
    )
    log.close()
    await world.until(lambda: key.id in world.gateway.plane.state.keys)
    assert (await call(world, None)).status_code == 401
    assert (await call(world, text)).status_code == 200


async def test_an_operator_key_asks_no_workflow(world: World) -> None:
    await make(world, "app")
    key = await make(world, "ops", OperatorGrant(Role.APPROVER))
    assert refusal(await call(world, key)) == (403, "wrong_key_kind")


async def test_a_workflow_the_key_may_not_use_does_not_exist_for_it(world: World) -> None:
    key = await make(world, "app", ClientGrant(("fac*",)))
    answer = await call(world, key, model="triage")
    assert refusal(answer) == (404, "model_not_found")
    unknown = await call(world, key, model="triag")
    assert refusal(unknown) == (404, "model_not_found")
    assert "did you mean" not in unknown.json()["error"]["message"]
    assert (await call(world, key, model="facts")).status_code == 200
    listed = (await call(world, key, "/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["facts"]
    assert refusal(await call(world, key, "/v1/models/triage")) == (404, "model_not_found")
    assert (await call(world, key, "/v1/models/facts")).status_code == 200


async def test_a_refusal_by_rate_names_the_limit_and_the_wait(world: World) -> None:
    key = await make(world, "app", ClientGrant(requests_per_minute=1))
    assert (await call(world, key)).status_code == 200
    answer = await call(world, key)
    assert refusal(answer) == (429, "rate_limit_exceeded")
    assert answer.json()["error"]["limit"] == "requests_per_minute"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert (await call(world, key, "/v1/models")).status_code == 200  # reads are not counted


async def test_tokens_of_prompt_and_answer_count(world: World) -> None:
    key = await make(world, "app", ClientGrant(tokens_per_minute=20))
    first = await call(world, key, max_tokens=30, model="base")
    assert first.status_code == 200
    assert first.json()["usage"]["total_tokens"] > 20
    answer = await call(world, key)
    assert refusal(answer) == (429, "rate_limit_exceeded")
    assert answer.json()["error"]["limit"] == "tokens_per_minute"


@pytest.mark.usefixtures("slow_steps")
async def test_a_stream_holds_its_place_until_it_ends_or_its_client_leaves(world: World) -> None:
    key = await make(world, "app", ClientGrant(concurrent_requests=1))
    api = openai.AsyncOpenAI(base_url=f"{world.inference}/v1", api_key=key, max_retries=0)
    stream = await api.chat.completions.create(
        model="base",
        messages=[{"role": "user", "content": "fox"}],
        max_tokens=400,
        stream=True,
    )
    await anext(stream)
    holder = world.gateway.keys.ring.find(key)
    assert isinstance(holder, Client)
    usage = world.gateway.keys.usage.of(holder)
    with pytest.raises(openai.RateLimitError) as caught:
        await api.chat.completions.create(
            model="triage", messages=[{"role": "user", "content": "fox"}], max_tokens=1
        )
    assert caught.value.response.json()["error"]["limit"] == "concurrent_requests"
    await stream.close()
    await world.until(lambda: usage.running == 0)
    assert (await call(world, key)).status_code == 200


async def test_health_is_open_and_metrics_are_the_operators_once_there_is_one(
    world: World,
) -> None:
    client = await make(world, "app")
    assert (await call(world, None, "/health/ready")).status_code == 200
    assert (await call(world, None, "/metrics")).status_code == 200
    viewer = await make(world, "prometheus", OperatorGrant(Role.VIEWER))
    assert refusal(await call(world, None, "/metrics")) == (401, "missing_api_key")
    assert refusal(await call(world, client, "/metrics")) == (403, "wrong_key_kind")
    read = await call(world, viewer, "/metrics")
    assert 'gateway_requests_refused_total{code="missing_api_key"} 1.0' in read.text
