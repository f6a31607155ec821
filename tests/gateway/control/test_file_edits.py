"""Edits of routes.yaml: picked up by themselves, whatever way they are saved, at their price."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.routing.table import Reason
from tests.gateway.control.test_plane import ADA, World, routes


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    for plane in made.planes:
        await plane.close()


async def test_saved_edit_becomes_a_revision_by_itself(world: World) -> None:
    plane = await world.start(routes("a@1"))
    world.file.write_text(routes("b@1"))
    await world.until(lambda: world.goes_to() == ("b@1", Reason.ROUTE))
    (event, *_) = await plane.history()
    assert event.actor == "file"


async def test_edit_by_rename_is_seen_again_and_again(world: World) -> None:
    await world.start(routes("a@1"))
    for target in ("b@1", "c@1", "a@1"):
        draft = world.folder / ".routes.yaml.swp"
        draft.write_text(routes(target))
        draft.rename(world.file)
        await world.until(lambda target=target: world.goes_to()[0] == target)  # type: ignore[misc]


async def test_edit_through_a_swapped_link_is_seen(world: World) -> None:
    # How Kubernetes updates a mounted ConfigMap: routes.yaml -> ..data/routes.yaml -> version.
    for version, target in (("v1", "a@1"), ("v2", "b@1")):
        (world.folder / version).mkdir()
        (world.folder / version / "routes.yaml").write_text(routes(target))
    (world.folder / "..data").symlink_to("v1")
    world.file.symlink_to("..data/routes.yaml")
    await world.start()
    (world.folder / "..tmp").symlink_to("v2")
    os.replace(world.folder / "..tmp", world.folder / "..data")
    await world.until(lambda: world.goes_to()[0] == "b@1")


async def test_edit_in_the_moment_after_start_is_not_missed(world: World) -> None:
    plane = await world.start(routes("a@1"))
    world.file.write_text(routes("b@1"))  # the watcher's task has not run yet
    await world.until(lambda: world.goes_to()[0] == "b@1")
    assert plane.file_status.ok


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense: [",
        routes("a@9"),
        routes("a@1").replace("fallback", "fallbak"),
        "version: 1\nworkflows:\n  w: {target: base, description: 2020-13-45}\n",
        "version: 1\nworkflows:\n  w: {target: base, response_schema: {default: 2020-01-01}}\n",
        "[" * 5000,
    ],
    ids=["yaml", "unknown adapter", "unknown key", "no such date", "date in a schema", "depth"],
)
async def test_bad_edit_changes_nothing_is_reported_and_a_good_one_follows(
    world: World, bad: str
) -> None:
    plane = await world.start(routes("a@1"))
    world.file.write_text(bad)
    await world.until(lambda: not plane.file_status.ok)
    assert plane.file_status.problems
    assert world.goes_to() == ("a@1", Reason.ROUTE)
    world.file.write_text(routes("b@1"))
    await world.until(lambda: world.goes_to() == ("b@1", Reason.ROUTE))
    assert plane.file_status.ok


async def test_first_edit_after_a_restart_costs_what_it_changes(world: World) -> None:
    schema = "{type: object, properties: {ok: {type: boolean}}}"
    text = "version: 1\nworkflows:\n" + "".join(
        f"  w{n}:\n    target: a@1\n    response_schema: {schema}\n" for n in range(6)
    )
    await (await world.start(text)).close()
    await world.start()
    await world.until(lambda: len(world.plane._intake._valid) == 6)
    checked: list[object] = []
    world.engine.check_schema = checked.append  # type: ignore[method-assign,assignment]
    edited = text.replace("w2:\n    target: a@1", "w2:\n    target: b@1")
    done = await world.plane.apply_text(edited, source=str(world.file), command=ADA)
    assert [change.workflow for change in done.changes] == ["w2"]
    assert len(checked) == 1


async def test_edit_of_a_file_that_was_not_in_force_is_checked_whole(world: World) -> None:
    await world.start(routes("a@1", x="b@1"))
    await world.plane.apply_text(routes("c@1", x="b@1"), source="api", command=ADA)
    await world.plane.close()
    await world.start()
    await world.until(lambda: world.plane._intake._blocks is not None)
    assert world.plane._intake._valid.keys() == {"x"}  # w is not what the file says
