"""The admin API's answers as one value: what is wrong is named, what is urgent comes first."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.view.draw import draw
from gateway.view.overview import Overview, overview
from gateway.view.readings import Rates
from tests.gateway.conftest import World


async def answers(world: World) -> dict[str, Any]:
    return {
        name: (await world.order("GET", f"/{name}")).json()
        for name in ("status", "routes", "guard")
    }


def seen(data: dict[str, Any], rates: dict[str, Rates] | None = None) -> Overview:
    return overview(data["status"], data["routes"], data["guard"], rates, at=1.0)


async def test_a_healthy_gateway_has_no_problems(world: World) -> None:
    found = seen(await answers(world), {"triage": Rates(3, 0, 0, None, None)})
    assert found.problems == ()
    assert found.revision == 1
    assert (found.rows, found.queue) == ((0, 4), (0, 8))
    assert found.routes[0].workflow == "triage"  # the busy one
    assert {route.workflow for route in found.routes} == {"triage", "facts", "base"}


async def test_an_override_makes_a_route_the_most_urgent_and_says_whose_it_is(world: World) -> None:
    await world.order("POST", "/workflows/facts/disable", reason="wrong", actor="ada")
    found = seen(await answers(world), {"triage": Rates(3, 0, 0, None, None)})
    assert found.routes[0].workflow == "facts"
    assert found.routes[0].note == "disabled by ada: wrong"


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("running", "canary triage@2 answers 5% of it"),
        ("aborted", "canary triage@2 aborted by guard: labels"),
        ("promoted", "canary triage@2 promoted by guard: labels"),
    ],
)
async def test_a_canary_says_how_far_it_is(world: World, phase: str, said: str) -> None:
    data = await answers(world)
    data["routes"]["workflows"]["triage"]["canary"] = {
        "adapter": "triage@2",
        "phase": phase,
        "share": 5.0,
        "since": {"actor": "guard", "reason": "labels"},
    }
    (triage,) = [route for route in seen(data).routes if route.workflow == "triage"]
    assert triage.canary == said
    assert said in "\n".join(line.plain for line in draw(seen(data), 100))


async def test_what_is_wrong_with_log_file_engine_and_adapters_is_named(world: World) -> None:
    data = await answers(world)
    status = data["status"]
    status["log"] |= {"ok": False, "error": "no route", "stale_seconds": 12.0, "owed": 2}
    status["routes_file"] |= {"ok": False, "problems": [{}, {}]}
    status["stats"]["healthy"] = False
    status["unavailable_adapters"] = {"triage@1": "its files are gone"}
    problems = "\n".join(seen(data).problems)
    for said in (
        "engine HAS FAILED",
        "log is AWAY for 12 s: no route",
        "2 orders",
        "NOT ACCEPTED (2 faults)",
        "triage@1 CANNOT BE SERVED: its files are gone",
    ):
        assert said in problems
