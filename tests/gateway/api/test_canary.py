"""A canary on a running gateway: one person sees one model, hands move it, and what is running when
it is aborted starts again on the target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import World, slow_down, start

CANARIED = """\
version: 1
workflows:
  triage:
    target: triage@1
    temperature: 0
    canary: {{adapter: triage@2, {plan}}}
"""


def routes(plan: str = "steps: [50, 100]") -> str:
    return CANARIED.format(plan=plan)


@pytest.fixture
async def canaried(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "routes.yaml").write_text(routes())
    running = await start(tiny_files, tmp_path)
    yield running
    await running.gateway.stop()


async def targets(world: World, *users: str | None, header: str = "") -> list[tuple[str, str]]:
    found = []
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        for user in users:
            body = {"model": "triage", "prompt": "fox", "max_tokens": 1}
            headers = {header: user} if header and user else {}
            if user and not header:
                body["user"] = user
            answer = await http.post("/v1/completions", json=body, headers=headers)
            answer.raise_for_status()
            said = answer.headers
            found.append((said["x-gateway-target"], said["x-gateway-reason"]))
    return found


USERS = [f"user-{n}" for n in range(12)]
BOTH = {("triage@1", "route"), ("triage@2", "canary")}


async def test_each_user_is_answered_by_one_model_and_the_headers_tell_which(
    canaried: World,
) -> None:
    first = await targets(canaried, *USERS)
    assert set(first) == BOTH
    assert await targets(canaried, *USERS) == first


async def test_a_header_may_name_the_person_and_a_request_without_a_name_is_one_of_its_own(
    canaried: World,
) -> None:
    by_user = await targets(canaried, *USERS)
    canaried.settings.routes.write_text(routes("share: 50%, key: X-Customer"))
    plane = canaried.gateway.plane

    def taken_in() -> bool:
        split = plane.table.decisions["triage"].split
        return split is not None and split.key == "x-customer"

    await canaried.until(taken_in)
    assert await targets(canaried, *USERS, header="x-customer") == by_user
    assert set(await targets(canaried, *[None] * 24)) == BOTH


async def test_a_promotion_sends_nobody_back_and_an_abort_everybody(canaried: World) -> None:
    before = await targets(canaried, *USERS)
    done = await canaried.order("POST", "/workflows/triage/promote", reason="good so far")
    assert done.status_code == 200, done.text
    assert done.json()["event"]["kind"] == "canary_stepped"
    assert set(await targets(canaried, *USERS)) == {("triage@2", "canary")}
    assert set(before) == BOTH
    await canaried.order("POST", "/workflows/triage/promote", reason="all of it")
    shown = (await canaried.order("GET", "/routes")).json()["workflows"]["triage"]
    assert (shown["target"], shown["reason"], shown["file_target"]) == (
        "triage@2",
        "canary",
        "triage@1",
    )
    assert shown["canary"]["phase"] == "promoted"
    await canaried.order("POST", "/workflows/triage/abort", reason="it is not")
    assert set(await targets(canaried, *USERS)) == {("triage@1", "route")}
    again = await canaried.order("POST", "/workflows/triage/promote", reason="but yes")
    assert again.status_code == 409
    assert "gateway resume triage" in again.json()["error"]["message"]
    await canaried.order("POST", "/workflows/triage/resume", reason="mended")
    assert await targets(canaried, *USERS) == before


async def test_several_prompts_of_one_request_are_answered_by_one_model(canaried: World) -> None:
    async with httpx.AsyncClient(base_url=canaried.inference, timeout=60) as http:
        for user in USERS:
            one = {"model": "triage", "prompt": "fox", "max_tokens": 8, "user": user}
            single = (await http.post("/v1/completions", json=one)).json()["choices"][0]["text"]
            body = {**one, "prompt": ["fox", "fox"]}
            answer = (await http.post("/v1/completions", json=body)).json()
            assert [choice["text"] for choice in answer["choices"]] == [single, single]


async def test_an_abort_with_restart_takes_what_is_running_to_the_target(
    canaried: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = dict(zip(USERS, await targets(canaried, *USERS), strict=True))
    slow_down(canaried, monkeypatch)
    by_arm = {
        arm: next(user for user, (_, reason) in kinds.items() if reason == arm)
        for arm in ("canary", "route")
    }

    async def ask(user: str) -> httpx.Response:
        body = {"model": "triage", "prompt": "fox", "max_tokens": 60, "user": user}
        async with httpx.AsyncClient(base_url=canaried.inference, timeout=60) as http:
            return await http.post("/v1/completions", json=body)

    asked = {arm: asyncio.create_task(ask(user)) for arm, user in by_arm.items()}
    await canaried.until(lambda: canaried.gateway.engine.stats().running_rows == 2)
    done = await canaried.order(
        "POST", "/workflows/triage/abort", reason="nonsense", in_flight="restart"
    )
    assert done.status_code == 200, done.text
    answers = {arm: await task for arm, task in asked.items()}
    assert {a.headers["x-gateway-target"] for a in answers.values()} == {"triage@1"}
    revisions = {arm: a.headers["x-gateway-revision"] for arm, a in answers.items()}
    assert revisions == {"canary": "2", "route": "1"}


async def test_a_disable_goes_before_a_canary(canaried: World) -> None:
    await canaried.order("POST", "/workflows/triage/disable", reason="all of it is bad")
    assert set(await targets(canaried, *USERS)) == {("base", "disabled")}


async def test_a_canary_that_left_the_disk_leaves_its_people_to_the_target(
    canaried: World,
) -> None:
    plane = canaried.gateway.plane
    tried = plane.table.decisions["triage"].split
    assert tried is not None
    plane.lose(tried.target, "it is damaged")
    assert set(await targets(canaried, *USERS)) <= BOTH
