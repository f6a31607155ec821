"""What the OpenAPI descriptions promise holds for whatever is sent: no 500, and every answer is
of a status, a type and a shape that is described."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.access import commands
from gateway.access.secret import new_key
from gateway.access.values import ClientGrant, Grant, OperatorGrant, Role
from gateway.control.values import Command
from scripts.docs import admin_api, inference_api
from tests.gateway.conftest import World, start

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
INFERENCE = schemathesis.openapi.from_dict(dict(inference_api.description()))
# The event streams have no end to wait for; `test_stream.py` reads the live one.
ADMIN = schemathesis.openapi.from_dict(dict(admin_api.description())).exclude(
    path=["/admin/v1/events", "/admin/v1/stream"]
)
bounded = settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Live:
    """A running gateway with a key for each port."""

    world: World
    client_key: str
    operator_key: str


@pytest.fixture(scope="module")
def live(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """On a loop of its own: the fuzzer waits for its answers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> Live:
        folder = tmp_path_factory.mktemp("fuzzed")
        # A registry of its own: what is sent may register and revoke. A short context: what is
        # asked for is answered in milliseconds.
        shutil.copytree(tiny_files / "registry", folder / "registry")
        world = await start(tiny_files, folder, max_len=48, registry=folder / "registry")

        async def key(name: str, grant: Grant) -> str:
            made, text = new_key(name, grant)
            await world.gateway.plane.amend(
                lambda state: commands.create(state, made), Command("test")
            )
            return text

        return Live(
            world,
            await key("fuzzing-client", ClientGrant()),
            await key("fuzzing-operator", OperatorGrant(Role.APPROVER)),
        )

    running = asyncio.run_coroutine_threadsafe(begin(), loop).result(60)
    yield running
    asyncio.run_coroutine_threadsafe(running.world.gateway.stop(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def hold(case: Case[Any], base_url: str, key: str) -> None:
    answer = case.call(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=30)
    case.validate_response(answer, checks=CHECKS)


@INFERENCE.parametrize()
@bounded
def test_inference_answers_as_it_describes(case: Case[Any], live: Live) -> None:
    key = live.operator_key if case.path == "/metrics" else live.client_key
    hold(case, live.world.inference, key)


@ADMIN.parametrize()
@bounded
def test_admin_answers_as_it_describes(case: Case[Any], live: Live) -> None:
    hold(case, live.world.admin, live.operator_key)
