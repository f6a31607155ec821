"""More adapters than the engine has slots for: nothing waits for those that are not needed yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.routing.events import API_SOURCE
from gateway.routing.table import AdapterRef, Reason
from tests.gateway.control.ports import MemoryRegistry, adapter
from tests.gateway.control.test_plane import ADA, World

MANY = [adapter(f"m{index:03}@1") for index in range(40)]


def table(count: int, **more: str) -> str:
    lines = [f"  w{index:03}: {{target: m{index:03}@1}}" for index in range(count)]
    lines += [f"  {name}: {{target: {target}}}" for name, target in more.items()]
    return "version: 1\nworkflows:\n" + "\n".join(lines) + "\n"


class Counting(MemoryRegistry):
    """Remembers which adapters were asked for whole."""

    def __init__(self, *artifacts: Any) -> None:
        super().__init__(*artifacts)
        self.asked: list[AdapterRef] = []

    def find(self, ref: AdapterRef) -> Any:
        self.asked.append(ref)
        return super().find(ref)


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    made.registry = Counting(*MANY, adapter("new@1"))
    made.slots = 4
    yield made
    for plane in made.planes:
        await plane.close()


async def test_a_start_loads_what_there_are_slots_for_and_serves_every_route(world: World) -> None:
    await (await world.start(table(40))).close()
    world.engine.resident.clear()
    plane = await world.start()
    assert len(world.engine.resident) == 4
    assert not plane.unavailable
    assert all(world.goes_to(f"w{index:03}")[1] is Reason.ROUTE for index in range(40))


async def test_what_was_not_loaded_is_checked_beside_serving(world: World) -> None:
    await (await world.start(table(40))).close()
    hurt = MANY[30]
    plane = await world.start()
    world.registry.broken.add(hurt.ref)
    world.engine.refuse.add(hurt.digest)
    await world.until(lambda: world.goes_to("w030") == ("base", Reason.FALLBACK))
    assert plane.table.decisions["w030"].why in ("damaged", "does not fit")  # looked for since
    assert len(plane.unavailable) == 1


async def test_an_edit_asks_for_the_adapters_that_it_brings_in_alone(world: World) -> None:
    registry: Any = world.registry
    plane = await world.start(table(40))
    assert len(registry.asked) == 40  # each once, by the file that brought it in
    registry.asked.clear()
    loads: list[str] = []
    load = world.engine.make_resident

    async def counted(artifact: Any) -> None:
        loads.append(str(artifact.ref))
        await load(artifact)

    world.engine.make_resident = counted  # type: ignore[method-assign]
    await plane.apply_text(table(40, late="new@1"), source=API_SOURCE, command=ADA)
    assert loads == ["new@1"]
    assert {str(ref) for ref in registry.asked} == {"new@1"}
