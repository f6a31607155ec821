"""Commands, file edits and other processes' events, and what the live table makes of them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.control.plane import Command, ControlPlane
from gateway.errors import (
    AdapterRejected,
    LogUnavailable,
    NotAllowed,
    NotFound,
    RevisionConflict,
    TableRejected,
)
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import (
    AdapterRevoked,
    Draft,
    Event,
    RouteDisabled,
    RouteEnabled,
    TableApplied,
)
from gateway.routing.table import BASE_TARGET, AdapterRef, Reason, Route, Target
from tests.gateway.control.ports import MemoryRegistry, RecordingEngine, adapter

A, B, C = adapter("a@1"), adapter("b@1"), adapter("c@1")
ADA = Command("ada", "because")


def routes(target: str = "a@1", fallback: str = "base", **more: str) -> str:
    text = f"version: 1\nworkflows:\n  w: {{target: {target}, fallback: {fallback}}}\n"
    return text + "".join(f"  {name}: {{target: {to}}}\n" for name, to in more.items())


class World:
    """One plane on real files, with its ports at hand. `restart` is a crash and a new process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "routes.yaml"
        self.registry = MemoryRegistry(A, B, C)
        self.slots = 8
        self.planes: list[ControlPlane] = []

    def log(self) -> SqliteLog:
        return SqliteLog(self.folder / "revisions.sqlite")

    async def start(self, text: str | None = None) -> ControlPlane:
        if text is not None:
            self.file.write_text(text)
        self.engine = RecordingEngine(self.slots)
        self.plane = ControlPlane(
            self.log(),
            cast(Any, self.registry),
            cast(Any, self.engine),
            self.file,
            replica="gw-1",
            clock=lambda: 7.0,
        )
        self.planes.append(self.plane)
        await self.plane.start()
        return self.plane

    def goes_to(self, workflow: str = "w") -> tuple[str, Reason]:
        decision = self.plane.table.resolve(workflow)
        assert decision is not None
        return str(decision.target), decision.reason

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (the plane gives no event for it)
                await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    for plane in made.planes:
        await plane.close()


async def test_start_applies_the_file_and_makes_its_adapters_resident(world: World) -> None:
    plane = await world.start(routes())
    assert world.goes_to() == ("a@1", Reason.ROUTE)
    assert world.goes_to("base") == ("base", Reason.DEFAULT)
    assert plane.table.revision == 1
    assert world.engine.resident == {A.digest}
    assert world.engine.pinned == {A.digest}


async def test_broken_file_at_start_is_refused(world: World) -> None:
    with pytest.raises(TableRejected):
        await world.start(routes("a@9"))


async def test_restart_on_an_unchanged_file_adds_no_revision(world: World) -> None:
    await (await world.start(routes())).close()
    assert (await world.start()).table.revision == 1


async def test_applied_table_survives_a_restart_on_an_unedited_file(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    await plane.close()
    await world.start()
    assert world.goes_to() == ("b@1", Reason.ROUTE)
    assert world.plane.table.revision == 2
    assert world.plane.file_status.ok


async def test_touched_file_does_not_undo_an_applied_table(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    read_at = world.file.stat().st_mtime_ns
    os.utime(world.file, ns=(read_at + 10**9, read_at + 10**9))
    seen = plane.file_status
    await world.until(lambda: plane.file_status is not seen)  # read again, and left alone
    assert world.goes_to() == ("b@1", Reason.ROUTE)
    assert plane.table.revision == 2


async def test_file_edited_after_a_table_was_applied_rules(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    await plane.close()
    await world.start(routes("c@1"))
    assert world.goes_to() == ("c@1", Reason.ROUTE)


async def test_file_brought_up_to_an_applied_table_undoes_no_later_one(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    world.file.write_text(routes("b@1"))
    await world.until(lambda: plane.state.file_digest == plane.state.table_digest)
    await plane.apply_text(routes("c@1"), source="api", command=ADA)
    await plane.close()
    await world.start()
    assert world.goes_to() == ("c@1", Reason.ROUTE)


async def test_disable_goes_to_fallback_and_survives_restart_and_file_edit(world: World) -> None:
    plane = await world.start(routes("a@1", "b@1"))
    done = await plane.disable("w", ADA)
    assert done.revision == 2
    assert [(c.workflow, str(c.before and c.before.target)) for c in done.changes] == [("w", "a@1")]
    assert world.goes_to() == ("b@1", Reason.DISABLED)
    await plane.close()
    plane = await world.start(routes("c@1"))
    assert world.goes_to() == ("base", Reason.DISABLED)
    await plane.enable("w", ADA)
    assert world.goes_to() == ("c@1", Reason.ROUTE)


async def test_disable_does_not_wait_for_an_adapter_that_loads(world: World) -> None:
    plane = await world.start(routes())
    world.engine.gate.clear()
    world.engine.waiting.clear()
    edit = asyncio.create_task(plane.apply_text(routes("b@1"), source="api", command=ADA))
    await world.engine.waiting.wait()
    try:
        await asyncio.wait_for(plane.disable("w", ADA), 20.0)
        assert world.goes_to() == ("base", Reason.DISABLED)
    finally:
        world.engine.gate.set()
        await asyncio.gather(edit, return_exceptions=True)
    assert world.goes_to() == ("base", Reason.DISABLED)


async def test_rollback_does_not_wait_for_an_adapter_that_loads(world: World) -> None:
    plane = await world.start(routes())
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    world.engine.gate.clear()
    world.engine.waiting.clear()
    edit = asyncio.create_task(plane.apply_text(routes("c@1"), source="api", command=ADA))
    await world.engine.waiting.wait()
    try:
        await asyncio.wait_for(plane.rollback("w", ADA), 20.0)
        assert world.goes_to() == ("a@1", Reason.PINNED)
    finally:
        world.engine.gate.set()
        await asyncio.gather(edit, return_exceptions=True)


async def test_engine_refusal_changes_nothing(world: World) -> None:
    plane = await world.start(routes())
    world.engine.refuse = {B.digest}
    with pytest.raises((AdapterRejected, TableRejected)):
        await plane.apply_text(routes("b@1"), source="api", command=ADA)
    assert world.goes_to() == ("a@1", Reason.ROUTE)
    assert plane.table.revision == 1
    assert world.engine.pinned == {A.digest}


async def test_dry_run_changes_nothing_and_tells_what_would(world: World) -> None:
    plane = await world.start(routes())
    done = await plane.apply_text(routes("b@1", x="base"), source="api", command=ADA, dry_run=True)
    assert {c.workflow for c in done.changes} == {"w", "x"}
    assert (plane.table.revision, plane.state.revision) == (1, 1)


async def test_failed_dry_run_of_the_file_leaves_its_status_alone(world: World) -> None:
    plane = await world.start(routes())
    with pytest.raises(TableRejected):
        await plane.apply_text("nonsense", source=str(world.file), command=ADA, dry_run=True)
    assert plane.file_status.ok


async def test_fallback_adapters_are_resident_before_they_are_needed(world: World) -> None:
    await world.start(routes("a@1", "b@1"))
    assert world.engine.resident == {A.digest, B.digest}


async def test_command_decided_on_an_old_revision_is_a_conflict(world: World) -> None:
    plane = await world.start(routes(x="base"))
    await plane.disable("w", Command("bob"))
    with pytest.raises(RevisionConflict, match="bob"):
        await plane.disable("x", Command("ada", expected_revision=1))
    # The conflict is told also where the state alone would have refused it.
    with pytest.raises(RevisionConflict, match="bob"):
        await plane.disable("w", Command("ada", expected_revision=1))


async def test_command_without_a_revision_tries_again_when_the_log_moves(world: World) -> None:
    plane = await world.start(routes(x="base"))
    other, real = world.log(), plane._history.log
    raced: list[Event] = []

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def extend(self, records: Any) -> None:
            if not raced:  # another process comes first, between catching up and appending
                draft = Draft(RouteDisabled("x"), "cli", "", 1.0)
                raced.append(other.append(draft, expected=records[0].revision - 1))
            real.extend(records)

    plane._history.log = cast(Any, Racing())
    done = await plane.disable("w", ADA)
    assert done.revision == 3
    assert world.goes_to("x")[1] is Reason.DISABLED
    assert world.goes_to("w")[1] is Reason.DISABLED


async def test_rollback_decides_on_what_the_log_holds_when_it_commits(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    other, real = world.log(), plane._history.log
    reads: list[int] = []

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def records(self, *, after: int = 0, limit: int | None = None) -> Any:
            found = real.records(after=after, limit=limit)
            if not reads and after == 0:
                reads.append(1)  # c@1 is applied elsewhere just after the plane's first look
                route = Route("w", Target(C.ref, C.digest))
                change = TableApplied((route,), "api", "0" * 64)
                other.append(Draft(change, "cli", "", 1.0), expected=2)
            return found

    plane._history.log = cast(Any, Racing())
    await plane.rollback("w", ADA)
    assert world.goes_to() == ("b@1", Reason.PINNED)  # what was before c@1, not before b@1


async def test_rollback_pins_and_resume_lets_the_file_rule(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    await plane.rollback("w", ADA)
    assert world.goes_to() == ("a@1", Reason.PINNED)
    await plane.apply_text(routes("c@1"), source="api", command=ADA)
    assert world.goes_to() == ("a@1", Reason.PINNED)
    await plane.resume("w", ADA)
    assert world.goes_to() == ("c@1", Reason.ROUTE)


async def test_rollback_makes_the_old_adapter_resident_first(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    world.engine.resident.discard(A.digest)  # evicted meanwhile
    await plane.rollback("w", ADA)
    assert A.digest in world.engine.resident


async def test_rollback_to_an_adapter_that_is_gone_is_refused(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    await plane.close()
    del world.registry.held[A.ref]
    plane = await world.start(routes("b@1"))
    with pytest.raises((NotAllowed, NotFound, AdapterRejected)):
        await plane.rollback("w", ADA)
    assert world.goes_to() == ("b@1", Reason.ROUTE)


async def test_gateway_starts_although_a_pinned_adapter_is_gone(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.apply_text(routes("b@1"), source="api", command=ADA)
    await plane.rollback("w", ADA)
    await plane.close()
    del world.registry.held[A.ref]
    await world.start(routes("b@1"))


async def test_revoke_sends_its_routes_to_their_fallback(world: World) -> None:
    plane = await world.start(routes("a@1", "b@1"))
    await plane.revoke(A.ref, ADA)
    assert world.goes_to() == ("b@1", Reason.FALLBACK)
    await plane.revoke(B.ref, ADA)
    assert world.goes_to() == ("base", Reason.FALLBACK)
    with pytest.raises(NotAllowed):
        await plane.revoke(B.ref, ADA)
    await plane.approve(A.ref, ADA)
    assert world.goes_to() == ("a@1", Reason.ROUTE)


async def test_adapter_damaged_on_disk_can_still_be_revoked(world: World) -> None:
    plane = await world.start(routes("a@1"))
    world.registry.broken.add(A.ref)
    await plane.revoke(A.ref, ADA)
    assert world.goes_to() == ("base", Reason.FALLBACK)


async def test_event_says_who_when_from_where_and_why(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.disable("w", Command("ada", "looks wrong", origin="10.0.0.9"))
    ordered, saved = await plane.history()
    assert (ordered.actor, ordered.reason) == ("ada", "looks wrong")
    assert (ordered.at, ordered.origin) == (7.0, "gw-1/10.0.0.9")
    assert (saved.actor, saved.origin) == ("file", "gw-1")
    assert len(ordered.hash) == 64


async def test_unknown_workflow_names_the_nearest(world: World) -> None:
    plane = await world.start(routes(triage="base"))
    with pytest.raises(NotFound, match="triage") as missing:
        await plane.disable("triag", ADA)
    assert missing.value.nearest == "triage"


async def test_event_of_another_process_is_obeyed(world: World) -> None:
    await world.start(routes("a@1"))
    world.log().append(Draft(RouteDisabled("w"), "cli", "", 1.0), expected=1)
    await world.until(lambda: world.goes_to() == ("base", Reason.DISABLED))


async def test_event_of_another_process_is_obeyed_while_an_adapter_loads(world: World) -> None:
    plane = await world.start(routes("a@1"))
    world.engine.gate.clear()
    world.engine.waiting.clear()
    edit = asyncio.create_task(plane.apply_text(routes("b@1"), source="api", command=ADA))
    await world.engine.waiting.wait()
    world.log().append(Draft(RouteDisabled("w"), "cli", "", 1.0), expected=1)
    try:
        await world.until(lambda: world.goes_to() == ("base", Reason.DISABLED))
    finally:
        world.engine.gate.set()
        await asyncio.gather(edit, return_exceptions=True)


async def test_failing_watcher_of_swaps_does_not_fail_the_command(world: World) -> None:
    plane = await world.start(routes("a@1"))
    seen: list[int] = []

    def fails(*_: object) -> None:
        raise RuntimeError("a listener's fault")

    plane.on_swap(fails)
    plane.on_swap(lambda old, new, event: seen.append(new.revision))
    await plane.disable("w", ADA)
    assert seen == [2]
    await plane.enable("w", ADA)
    assert world.goes_to() == ("a@1", Reason.ROUTE)


async def test_log_outage_serves_on_and_catches_up_by_itself(world: World) -> None:
    plane = await world.start(routes("a@1"))
    real = plane._history.log

    class Down:
        def __getattr__(self, name: str) -> Any:
            raise LogUnavailable("the log is away")

    plane._history.log = cast(Any, Down())
    with pytest.raises(LogUnavailable):
        await plane.disable("w", ADA)
    assert world.goes_to() == ("a@1", Reason.ROUTE)
    assert plane.log_error
    world.log().append(
        Draft(AdapterRevoked(AdapterRef("a", "1"), A.digest), "cli", "", 1.0), expected=1
    )
    plane._history.log = real
    await world.until(lambda: world.goes_to() == ("base", Reason.FALLBACK))
    assert plane.log_error is None


async def test_slow_subscriber_is_told_it_lagged_and_blocks_nobody(world: World) -> None:
    plane = await world.start(routes("a@1"))
    stream = plane.subscribe()
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await plane.disable("w", ADA)
    assert (await first).revision == 2
    (queue,) = plane._live._subscribers
    while not queue.full():
        queue.put_nowait(None)
    await plane.enable("w", ADA)
    assert plane._live._subscribers == set()


async def test_past_table_is_what_it_was(world: World) -> None:
    plane = await world.start(routes("a@1"))
    await plane.disable("w", ADA)
    event, before, after = await plane.table_at(2)
    assert event.actor == "ada"
    assert before.decisions["w"].reason is Reason.ROUTE
    assert after.decisions["w"].reason is Reason.DISABLED
    with pytest.raises(NotFound, match="newest is 2"):
        await plane.table_at(3)


@pytest.mark.parametrize("revision", [2, 3])
async def test_a_log_that_was_edited_is_told_and_holds_no_command_up(
    world: World, revision: int
) -> None:
    plane = await world.start(routes("a@1"))
    with sqlite3.connect(world.folder / "revisions.sqlite") as raw:
        raw.execute("DROP TRIGGER events_follow_on")  # by whoever can write the file
        raw.execute(
            "INSERT INTO events SELECT ?, change, actor, reason, at, origin, 'edited' FROM events",
            (revision,),
        )
    raw.close()
    async with asyncio.timeout(20):
        with pytest.raises(LogUnavailable, match="after revision 1 does not follow"):
            await plane.disable("w", ADA)
    assert plane.log_error
    assert world.goes_to() == ("a@1", Reason.ROUTE)


async def test_an_event_that_a_listener_is_far_behind_of_still_ends_it_at_the_stop(
    world: World,
) -> None:
    plane = await world.start(routes("a@1"))
    stream = plane.subscribe()
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    (queue,) = plane._live._subscribers
    event = (await plane.history())[0]
    while not queue.full():
        queue.put_nowait(event)
    await first
    queue.put_nowait(event)
    plane.hang_up()
    async with asyncio.timeout(20):
        assert [e async for e in stream] == [event] * (queue.maxsize - 1)


async def test_a_disable_that_was_obeyed_locally_reaches_listeners_once_each_way(
    world: World,
) -> None:
    """The local order, and the log's event of it: both are told, with the same table."""
    plane = await world.start(routes("a@1"))
    told: list[tuple[object, object]] = []
    plane.on_swap(lambda old, new, event: told.append((event.change, new.decisions["w"].target)))
    draft = Draft(RouteDisabled("w", "restart"), "ada", "", 1.0)
    await plane._history.order_locally(draft)
    await plane.enable("w", ADA)  # settles what is owed first
    assert told == [
        (draft.change, BASE_TARGET),
        (draft.change, BASE_TARGET),
        (RouteEnabled("w"), Target(A.ref, A.digest)),
    ]
