"""Adapters that leave the registry or are damaged: their routes fall back, and come back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.control import adapters
from gateway.errors import TableRejected
from gateway.log.sqlite import SqliteLog
from gateway.registry.values import AdapterArtifact
from gateway.routing.events import API_SOURCE, Draft, TableApplied
from gateway.routing.table import AdapterRef, Reason, Route, Target
from tests.gateway.control.ports import adapter
from tests.gateway.control.test_plane import ADA, A, B, C, World, routes


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(adapters, "_LOOK_S", 0.05)
    made = World(tmp_path)
    yield made
    for plane in made.planes:
        await plane.close()


def why(world: World, workflow: str = "w") -> str:
    return world.plane.table.decisions[workflow].why


async def test_damaged_adapter_of_an_accepted_table_stops_no_start(world: World) -> None:
    await (await world.start(routes("a@1", "b@1", x="c@1"))).close()
    world.registry.broken.add(A.ref)
    plane = await world.start()
    assert world.goes_to() == ("b@1", Reason.FALLBACK)
    assert world.goes_to("x") == ("c@1", Reason.ROUTE)
    assert why(world) == "damaged"
    assert plane.unavailable == {Target(A.ref, A.digest): "damaged"}


async def test_edited_file_at_start_may_go_on_naming_a_damaged_adapter(world: World) -> None:
    await (await world.start(routes("a@1"))).close()
    world.registry.broken.add(A.ref)
    await world.start(routes("a@1", x="b@1"))
    assert world.goes_to() == ("base", Reason.FALLBACK)
    assert world.goes_to("x") == ("b@1", Reason.ROUTE)


async def test_edited_file_at_start_may_not_bring_in_a_damaged_adapter(world: World) -> None:
    await (await world.start(routes("a@1"))).close()
    world.registry.broken.add(B.ref)
    with pytest.raises(TableRejected, match="damaged"):
        await world.start(routes("b@1"))


async def test_adapter_gone_from_the_registry_comes_back_by_itself(world: World) -> None:
    await (await world.start(routes("a@1"))).close()
    gone = world.registry.held.pop(A.ref)
    await world.start()
    assert world.goes_to() == ("base", Reason.FALLBACK)
    assert why(world) == "a@1 is not in the registry"
    world.registry.held[A.ref] = gone
    await world.until(lambda: world.goes_to() == ("a@1", Reason.ROUTE))
    assert not world.plane.unavailable
    assert A.digest in world.engine.resident


async def test_other_content_under_the_same_name_is_not_served(world: World) -> None:
    await (await world.start(routes("a@1"))).close()
    other = adapter("other@1")
    world.registry.held[A.ref] = type(other)(
        A.ref, other.digest, other.path, "tiny", "fp", 8, ("q_proj",), 1, other.state
    )
    await world.start()
    assert world.goes_to() == ("base", Reason.FALLBACK)
    assert "not the content" in why(world)


async def test_lost_fallback_goes_to_the_base(world: World) -> None:
    await (await world.start(routes("a@1", "b@1"))).close()
    world.registry.broken |= {A.ref, B.ref}
    plane = await world.start()
    assert world.goes_to() == ("base", Reason.FALLBACK)
    await plane.disable("w", ADA)
    assert world.goes_to() == ("base", Reason.DISABLED)


async def test_adapter_that_a_request_could_not_load_is_left_and_tried_again(world: World) -> None:
    plane = await world.start(routes("a@1", "b@1"))
    world.engine.refuse.add(A.digest)
    plane.lose(Target(A.ref, A.digest), "torn file")
    assert world.goes_to() == ("b@1", Reason.FALLBACK)
    assert why(world) == "torn file"
    await world.until(lambda: why(world) == "does not fit")  # looked for, and not found
    world.engine.refuse.clear()
    await world.until(lambda: world.goes_to() == ("a@1", Reason.ROUTE))


async def test_reading_the_file_again_looks_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "_LOOK_S", 3600)
    await (await world.start(routes("a@1"))).close()
    world.registry.broken.add(A.ref)
    await world.start()
    world.registry.broken.clear()
    await asyncio.sleep(0)
    assert world.goes_to() == ("base", Reason.FALLBACK)
    world.file.write_text(routes("a@1"))  # saved again, unedited
    await world.until(lambda: world.goes_to() == ("a@1", Reason.ROUTE))


async def test_table_of_another_process_with_an_adapter_published_since_is_served(
    world: World,
) -> None:
    late = adapter("late@1")
    await world.start(routes("a@1"))
    world.registry.held[late.ref] = late
    log: SqliteLog = world.log()
    route = Route("w", Target(AdapterRef("late", "1"), late.digest))
    log.append(Draft(TableApplied((route,), API_SOURCE, "0" * 64), "cli", "", 1.0), expected=1)
    await world.until(lambda: world.goes_to() == ("late@1", Reason.ROUTE))
    assert late.digest in world.engine.resident


async def test_a_new_edit_is_still_checked_whole_while_an_adapter_is_lost(world: World) -> None:
    plane = await world.start(routes("a@1"))
    world.registry.broken.add(A.ref)
    with pytest.raises(TableRejected, match="damaged"):
        await plane.apply_text(routes("a@1", x="base"), source=API_SOURCE, command=ADA)
    await plane.apply_text(routes("c@1"), source=API_SOURCE, command=ADA)
    assert world.goes_to() == (str(C.ref), Reason.ROUTE)


async def test_what_stays_lost_is_looked_for_in_pauses_not_all_the_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "_LOOK_S", 3600)
    plane = await world.start(routes("a@1"))
    looks: list[int] = []
    read = plane._adapters.read

    def counted() -> None:
        looks.append(1)
        read()

    monkeypatch.setattr(plane._adapters, "read", counted)
    world.engine.refuse.add(A.digest)
    plane.lose(Target(A.ref, A.digest), "torn file")
    await world.until(lambda: why(world) == "does not fit")
    for _ in range(50):  # as many turns of a thread as a search without a pause would have taken
        await asyncio.to_thread(lambda: None)
    assert len(looks) <= 2


async def test_a_search_that_failed_in_an_unforeseen_way_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "_LOOK_S", 0.01)
    plane = await world.start(routes("a@1"))
    load = world.engine.make_resident
    faults = [RuntimeError("out of memory")]

    async def fails_once(artifact: AdapterArtifact) -> None:
        if faults:
            raise faults.pop()
        await load(artifact)

    monkeypatch.setattr(world.engine, "make_resident", fails_once)
    plane.lose(Target(A.ref, A.digest), "torn file")
    await world.until(lambda: world.goes_to() == ("a@1", Reason.ROUTE))
    assert not faults
