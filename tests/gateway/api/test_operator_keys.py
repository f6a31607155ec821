"""The admin port: who may give which order, and what the log says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from gateway.access import commands
from gateway.access.secret import new_key
from gateway.access.values import OperatorGrant, Role
from gateway.api.operators import needs
from gateway.cli import offline
from gateway.errors import BadInput
from gateway.serve import Gateway
from tests import tiny
from tests.gateway.conftest import World, settings_for


async def call(
    world: World, key: str | None, method: str, path: str, headers: Any = None, **body: object
) -> httpx.Response:
    sent = dict(headers or {})
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    async with httpx.AsyncClient(base_url=f"{world.admin}/admin/v1", timeout=30) as client:
        return await client.request(method, path, json=body or None, headers=sent)


async def make(world: World, name: str, role: Role, by: str | None = None) -> str:
    grant = {"kind": "operator", "role": role}
    done = await call(world, by, "POST", "/keys", name=name, grant=grant, reason="test")
    assert done.status_code == 200, done.text
    assert done.headers["cache-control"] == "no-store"
    return str(done.json()["secret"])


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
async def keys(world: World) -> dict[Role, str]:
    approver = await make(world, "boss", Role.APPROVER)
    return {
        Role.APPROVER: approver,
        Role.OPERATOR: await make(world, "night-shift", Role.OPERATOR, approver),
        Role.VIEWER: await make(world, "dashboard", Role.VIEWER, approver),
    }


async def test_the_first_operator_key_shuts_the_open_loopback(world: World) -> None:
    assert (await call(world, None, "GET", "/routes")).status_code == 200
    key = await make(world, "boss", Role.APPROVER)
    answer = await call(world, None, "GET", "/routes")
    assert refusal(answer) == (401, "missing_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert refusal(await call(world, "wrong", "GET", "/routes")) == (401, "invalid_api_key")
    assert (await call(world, key, "GET", "/routes")).status_code == 200


async def test_a_client_key_opens_no_admin_port(world: World, keys: dict[Role, str]) -> None:
    made = await call(
        world, keys[Role.APPROVER], "POST", "/keys", name="app", grant={"kind": "client"}
    )
    answer = await call(world, made.json()["secret"], "GET", "/routes")
    assert refusal(answer) == (403, "wrong_key_kind")


ORDERS: list[tuple[Role, str, str, dict[str, object]]] = [
    (Role.VIEWER, "GET", "/routes", {}),
    (Role.VIEWER, "GET", "/keys", {}),
    (Role.OPERATOR, "POST", "/workflows/triage/disable", {"reason": "r"}),
    (Role.OPERATOR, "POST", "/workflows/triage/enable", {"reason": "r"}),
    (Role.OPERATOR, "POST", "/workflows/triage/rollback", {"reason": "r"}),
    (Role.OPERATOR, "POST", "/workflows/triage/resume", {"reason": "r"}),
    (Role.OPERATOR, "POST", "/adapters", {"folder": "/nowhere", "ref": "a@1"}),
    (Role.APPROVER, "POST", "/adapters/triage@1/approve", {"reason": "r"}),
    (Role.APPROVER, "POST", "/adapters/triage@1/revoke", {"reason": "r"}),
    (Role.APPROVER, "PUT", "/table", {"text": "version: 1"}),
    (Role.APPROVER, "POST", "/keys", {"name": "x", "grant": {"kind": "client"}}),
    (Role.APPROVER, "POST", "/keys/dashboard/revoke", {"reason": "r"}),
]


async def test_each_order_needs_its_role_and_no_more(world: World, keys: dict[Role, str]) -> None:
    for needed, method, path, body in ORDERS:
        for role, key in keys.items():
            if role is Role.APPROVER and "revoke" in path:
                continue  # would change what the other rows stand on
            answer = await call(world, key, method, path, **body)
            refused = answer.status_code == 403 and refusal(answer)[1] == "role_too_low"
            assert refused is not role.covers(needed), (role, method, path, answer.text)


def test_every_order_of_the_admin_api_names_a_role(world: World) -> None:
    asked = {needs(role).__qualname__ for role in Role}
    assert world.gateway.admin_app is not None
    for route in world.gateway.admin_app.routes:
        if isinstance(route, APIRoute) and route.methods != {"GET"}:
            calls = {getattr(d.call, "__qualname__", "") for d in route.dependant.dependencies}
            assert calls & asked, f"{route.methods} {route.path} is open to every role"


async def test_an_event_names_the_key_whatever_the_body_says(
    world: World, keys: dict[Role, str]
) -> None:
    done = await call(
        world,
        keys[Role.OPERATOR],
        "POST",
        "/workflows/triage/disable",
        reason="wrong answers",
        actor="boss",
    )
    event = done.json()["event"]
    assert (event["actor"], event["reason"]) == ("key:night-shift", "wrong answers")
    assert "127.0.0.1" in event["origin"]


@pytest.mark.parametrize("actor", ["key:boss", "file", "guard", "gateway"])
async def test_without_a_key_nobody_signs_as_a_key_or_as_the_gateway(
    world: World, actor: str
) -> None:
    answer = await world.order("POST", "/workflows/triage/disable", reason="r", actor=actor)
    assert refusal(answer) == (400, "invalid_value")
    assert answer.json()["error"]["param"] == "actor"


async def test_a_revoked_key_is_dead_at_once(world: World, keys: dict[Role, str]) -> None:
    done = await call(
        world, keys[Role.APPROVER], "POST", "/keys/dashboard/revoke", reason="laptop lost"
    )
    assert done.json()["event"]["change"]["name"] == "dashboard"
    assert refusal(await call(world, keys[Role.VIEWER], "GET", "/routes")) == (
        401,
        "invalid_api_key",
    )


async def test_a_page_in_a_browser_gives_no_orders_and_a_key_needs_no_such_care(
    world: World,
) -> None:
    foreign = {"origin": "https://evil.example"}
    assert refusal(await call(world, None, "GET", "/routes", foreign)) == (403, "foreign_origin")
    named = {"host": "gateway.internal:8001"}
    assert refusal(await call(world, None, "GET", "/routes", named)) == (403, "foreign_origin")
    key = await make(world, "boss", Role.APPROVER)
    assert (await call(world, key, "GET", "/routes", named)).status_code == 200


async def test_with_two_persons_asked_for_the_registrant_does_not_approve(
    tiny_files: Path, tmp_path: Path
) -> None:
    folder = tiny.make_tiny_adapter(tmp_path / "new", tiny_files / "model", seed=9)
    settings = settings_for(tiny_files, tmp_path).model_copy(
        update={"two_person": True, "registry": tmp_path / "registry"}
    )
    settings.routes.write_text("version: 1\nworkflows:\n  facts: {target: base}\n")
    gateway = Gateway(settings)
    await gateway.start()
    admin = f"http://127.0.0.1:{gateway.ports[1]}"
    world = World(gateway, settings, "", admin)
    try:
        answer = await world.order("POST", "/adapters", folder=str(folder), ref="new@1")
        assert answer.json()["registered"]["actor"] == "operator"
        answer = await world.order("POST", "/adapters/new@1/approve", reason="mine")
        assert refusal(answer) == (403, "two_person")
        key = await make(world, "boss", Role.APPROVER)
        good = {"reason": "looks good", "override": True}
        done = await call(world, key, "POST", "/adapters/new@1/approve", **good)
        assert done.json()["event"]["actor"] == "key:boss"
        other = tiny.make_tiny_adapter(tmp_path / "other", tiny_files / "model", seed=10)
        await call(world, key, "POST", "/adapters", folder=str(other), ref="new@2")
        answer = await call(world, key, "POST", "/adapters/new@2/approve", reason="mine")
        assert refusal(answer) == (403, "two_person")
    finally:
        await gateway.stop()


async def test_admin_beyond_loopback_starts_with_an_operator_key_alone(
    tiny_files: Path, tmp_path: Path
) -> None:
    settings = settings_for(tiny_files, tmp_path).model_copy(update={"admin_host": "0.0.0.0"})
    gateway = Gateway(settings)
    with pytest.raises(BadInput, match="gateway keys create NAME --role approver --offline"):
        await gateway.start()
    key, secret = new_key("boss", OperatorGrant(Role.VIEWER))
    offline.commit(str(settings.state), lambda now, _: commands.create(now, key), "root", "")
    gateway = Gateway(settings)
    await gateway.start()
    world = World(gateway, settings, "", f"http://127.0.0.1:{gateway.ports[1]}")
    try:
        assert refusal(await call(world, None, "GET", "/routes")) == (401, "missing_api_key")
        assert (await call(world, secret, "GET", "/routes")).status_code == 200
    finally:
        await gateway.stop()
