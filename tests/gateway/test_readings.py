"""Readings of a scrape: whose hand lies on a route, what is guarded, who is behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.access.values import ClientGrant
from gateway.control.fleet import Beat, Seen
from gateway.control.values import Command
from gateway.errors import LogUnavailable
from gateway.guard.watched import Arm
from gateway.readings import FleetReadings, hand_of
from tests.gateway.api.test_client_keys import call, make
from tests.gateway.conftest import World, start
from tests.gateway.guard.test_watch import BAD, reason_of, routes, see, watch_of
from tests.gateway.test_metrics import page


async def samples(world: World, name: str) -> dict[tuple[str, ...], float]:
    """The values of one metric by their labels' values, in the order of the labels' names."""
    family = (await page(world))[name]
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


OVERRIDES = "gateway_route_override_timestamp_seconds"


async def test_an_override_says_since_when_and_whose_hand_it_is(world: World) -> None:
    assert await samples(world, OVERRIDES) == {}
    await world.order("POST", "/workflows/triage/disable", reason="wrong", actor="ada")
    (event, *_) = await world.gateway.plane.history()
    assert await samples(world, OVERRIDES) == {
        ("operator", "disabled", "triage"): pytest.approx(event.at, abs=1e-3)
    }
    await world.order("POST", "/workflows/triage/enable", reason="right")
    assert await samples(world, OVERRIDES) == {}


async def test_a_disable_that_the_log_has_not_got_yet_is_an_override_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = world.gateway.plane

    async def away(*_: object, **__: object) -> None:
        raise LogUnavailable("the log is away")

    monkeypatch.setattr(plane, "amend", away)
    await plane.disable("triage", Command("guard", "bad answers"), local=True)
    assert plane.owed
    assert [*await samples(world, OVERRIDES)] == [("guard", "disabled", "triage")]


@pytest.mark.parametrize(
    ("actor", "hand"),
    [("guard", "guard"), ("gateway", "gateway"), ("ada", "operator"), ("key:guard", "operator")],
)
def test_no_name_of_a_person_becomes_a_label(actor: str, hand: str) -> None:
    assert hand_of(actor) == hand


async def test_guarded_routes_are_told_and_their_trips_are_counted_from_zero(
    tiny_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text(routes())
    world = await start(tiny_files, tmp_path)
    try:
        assert await samples(world, "gateway_route_guarded") == {
            ("triage",): 1,
            ("other",): 1,
            ("plain",): 1,
        }
        see(world, "triage", BAD[0])
        await world.until(lambda: ("triage", Arm.CONTROL) in watch_of(world).watched)
        before = await samples(world, "gateway_guard_trips")
        assert before[("disable", "control", "labels", "triage")] == 0
        assert before[("held", "control", "labels", "triage")] == 0
        assert ("disable", "control", "first_token", "triage") not in before  # alerts only
        see(world, "triage", *BAD)
        await world.until(lambda: reason_of(world) == "disabled")
        after = await samples(world, "gateway_guard_trips")
        assert {key for key, value in after.items() if value} == {
            ("disable", "control", "labels", "triage")
        }
        assert [*await samples(world, OVERRIDES)] == [("guard", "disabled", "triage")]
    finally:
        await world.gateway.stop()


async def test_a_key_at_its_limit_is_counted_by_its_name_and_the_limit(world: World) -> None:
    busy = await make(world, "busy", ClientGrant(requests_per_minute=1))
    wordy = await make(world, "wordy", ClientGrant(tokens_per_minute=1))
    for key in (busy, busy, wordy, wordy):
        await call(world, key)
    assert await samples(world, "gateway_key_limited") == {
        ("busy", "requests_per_minute"): 1,
        ("wordy", "tokens_per_minute"): 1,
    }
    assert (await samples(world, "gateway_requests_refused"))[("rate_limit_exceeded",)] == 2


def seen(name: str, revision: int, age_s: float) -> Seen:
    return Seen(Beat(name, revision, "", "", 0.0), age_s)


@pytest.mark.parametrize(
    ("fleet", "live", "lost", "newest"),
    [
        ([], 0, 0, 5),
        ([seen("a", 5, 0.1)], 1, 0, 5),
        ([seen("a", 5, 0.1), seen("b", 7, 0.2)], 2, 0, 7),
        ([seen("a", 5, 0.1), seen("b", 9, 60)], 1, 1, 5),
    ],
)
def test_the_fleet_counts_the_lost_apart_and_follows_the_newest_live_revision(
    fleet: Sequence[Seen], live: int, lost: int, newest: int
) -> None:
    class Known:
        last = fleet

    class Table:
        revision = 5

    class Plane:
        fleet = Known
        table = Table

    registry = CollectorRegistry()
    registry.register(FleetReadings(Plane))  # type: ignore[arg-type]
    assert registry.get_sample_value("gateway_fleet_replicas", {"state": "live"}) == live
    assert registry.get_sample_value("gateway_fleet_replicas", {"state": "lost"}) == lost
    assert registry.get_sample_value("gateway_fleet_revision") == newest
