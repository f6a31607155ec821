"""Several replicas on one real Redis: one truth, obeyed by all."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.api.inflight import InFlight
from gateway.control import fleet, retreat
from gateway.control.fleet import AloneRegister, Answer, Beat, Fleet, Waits
from gateway.control.plane import Command
from gateway.errors import NotAllowed, RevisionConflict
from gateway.log.redis import RedisLog
from gateway.log.redis_register import RedisRegister
from gateway.routing.events import API_SOURCE, Draft, TableApplied
from gateway.routing.table import Reason, Route, Target
from tests.gateway.control.group import ADA, BOB, TABLE, A, B, Group, Replica, until
from tests.gateway.control.ports import MemoryRegistry, adapter


async def test_a_disable_on_one_replica_is_obeyed_and_acknowledged_by_all(group: Group) -> None:
    one, two = await group.add("one"), await group.add("two")
    done = await one.plane.disable("w", ADA)
    said = await one.plane.fleet.acknowledged(done.revision, "w", 10)
    assert {a.replica: a.answer for a in said} == {"one": Answer.OBEYED, "two": Answer.OBEYED}
    assert two.goes_to() == ("base", Reason.DISABLED)
    await group.agree()


async def test_replicas_with_the_same_file_make_one_revision_of_it(group: Group) -> None:
    one = await group.add("one")
    await group.add("two")
    assert one.plane.state.revision == 1


async def test_a_replica_that_ends_leaves_and_one_that_hangs_is_silent(group: Group) -> None:
    one, two, three = [await group.add(name) for name in ("one", "two", "three")]
    await three.plane.close()
    two.plane._follower.stop()  # it lives and beats, and does not follow
    await asyncio.to_thread(two.plane._follower.join)
    done = await one.plane.disable("w", ADA)
    said = await one.plane.fleet.acknowledged(done.revision, "w", 0.3)
    assert {a.replica: a.answer for a in said} == {"one": Answer.OBEYED, "two": Answer.SILENT}


async def test_a_route_takes_effect_where_its_adapter_is_and_is_pending_elsewhere(
    group: Group,
) -> None:
    one, two = await group.add("one"), await group.add("two")
    late = adapter("late@1")
    one.registry.held[late.ref] = late
    text = TABLE.replace("a@1", "late@1")
    done = await one.plane.apply_text(text, source=API_SOURCE, command=ADA)
    assert one.goes_to() == ("late@1", Reason.ROUTE)
    await until(lambda: two.plane.state.revision == done.revision)
    assert two.goes_to() == ("a@1", Reason.ROUTE)
    assert two.plane.table.decisions["w"].revision == 1  # where that is the route
    said = await one.plane.fleet.acknowledged(done.revision, "w", 10)
    assert [a.answer for a in said] == [Answer.OBEYED, Answer.PENDING]
    two.registry.held[late.ref] = late
    two.plane._adapters.look.set()
    await until(lambda: two.goes_to() == ("late@1", Reason.ROUTE))
    assert not two.plane.pending


async def test_a_disable_does_not_wait_for_a_pending_adapter(group: Group) -> None:
    one, two = await group.add("one"), await group.add("two")
    late = adapter("late@1")
    one.registry.held[late.ref] = late
    text = TABLE.replace("a@1", "late@1")
    await one.plane.apply_text(text, source=API_SOURCE, command=ADA)
    await until(lambda: bool(two.plane.pending))
    await one.plane.disable("w", ADA)
    await until(lambda: two.goes_to() == ("base", Reason.DISABLED))


async def test_a_revision_that_no_replica_can_hold_is_taken_back_with_the_reason(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retreat, "_AFTER_S", 0.2)
    one, two = await group.add("one"), await group.add("two")
    ghost = adapter("ghost@1")
    log = cast(RedisLog, one.plane._history.log)
    routes = (
        Route("v", Target(B.ref, B.digest)),
        Route("w", Target(ghost.ref, ghost.digest)),
    )
    draft = Draft(TableApplied(routes, API_SOURCE, "0" * 64), "cli", "", 1.0)
    await asyncio.to_thread(log.append, draft, expected=1)
    await until(lambda: one.goes_to() == ("a@1", Reason.PINNED))
    await until(lambda: two.goes_to() == ("a@1", Reason.PINNED))
    (event, *_) = await one.plane.history()
    assert event.actor == "gateway"
    assert "ghost@1 is not in the registry" in event.reason
    await group.agree()


async def test_two_operators_at_once_one_wins_and_the_other_is_told(group: Group) -> None:
    one, two = await group.add("one"), await group.add("two")
    on = one.plane.state.revision
    results = await asyncio.gather(
        one.plane.disable("w", Command("ada", "x", expected_revision=on)),
        two.plane.disable("v", Command("bob", "y", expected_revision=on)),
        return_exceptions=True,
    )
    (told,) = [r for r in results if isinstance(r, BaseException)]
    assert isinstance(told, RevisionConflict)
    assert told.actor in ("ada", "bob")
    await group.agree()


async def test_a_rollback_while_another_waits_for_its_adapter_is_decided_anew(
    group: Group,
) -> None:
    one, two = await group.add("one"), await group.add("two")
    text = TABLE.replace("a@1", "b@1")
    await one.plane.apply_text(text, source=API_SOURCE, command=ADA)
    await group.agree()
    one.engine.resident.discard(A.digest)  # evicted: the rollback loads it
    one.engine.gate.clear()
    one.engine.waiting.clear()
    slow = asyncio.create_task(one.plane.rollback("w", ADA))
    await one.engine.waiting.wait()
    await two.plane.rollback("w", BOB)
    one.engine.gate.set()
    told = (await asyncio.gather(slow, return_exceptions=True))[0]
    await group.agree()
    for replica in (one, two):
        assert replica.plane.state.overrides["w"].pinned is not None
    # Back to a@1 by bob; ada's was decided again on that, and goes back to what was before it.
    assert not isinstance(told, BaseException)
    assert one.goes_to() == ("b@1", Reason.PINNED)


async def test_a_restart_by_a_rollback_waits_on_each_replica_until_the_rollback_takes_effect(
    group: Group,
) -> None:
    one = await group.add("one")
    text = TABLE.replace("a@1", "b@1")
    await one.plane.apply_text(text, source=API_SOURCE, command=ADA)
    two = Replica("two", group.folder, group.server.url)
    two.registry = MemoryRegistry(B)  # what the rollback goes back to is not here yet
    group.replicas.append(two)
    await two.start()
    running = {}
    for replica in (one, two):
        in_flight = InFlight()
        replica.plane.on_swap(in_flight.on_swap)
        running[replica.name] = in_flight.add("w")
    done = await one.plane.rollback("w", ADA, in_flight="restart")
    assert running["one"].restart
    await until(lambda: two.plane.state.revision == done.revision)
    assert two.plane.pending.keys() == {"w"}
    assert two.goes_to() == ("b@1", Reason.ROUTE)
    assert not running["two"].restart  # there is nothing to restart on
    two.registry.held[A.ref] = A
    two.plane._adapters.look.set()
    await until(lambda: two.goes_to() == ("a@1", Reason.PINNED))
    assert running["two"].restart


async def test_a_disable_does_not_wait_for_a_pending_rollback_to_restart(group: Group) -> None:
    one = await group.add("one")
    text = TABLE.replace("a@1", "b@1")
    await one.plane.apply_text(text, source=API_SOURCE, command=ADA)
    two = Replica("two", group.folder, group.server.url)
    two.registry = MemoryRegistry(B)
    group.replicas.append(two)
    await two.start()
    in_flight = InFlight()
    two.plane.on_swap(in_flight.on_swap)
    running = in_flight.add("w")
    await one.plane.rollback("w", ADA, in_flight="restart")
    await until(lambda: bool(two.plane.pending))
    await one.plane.disable("w", BOB, in_flight="restart")
    await until(lambda: two.goes_to() == ("base", Reason.DISABLED))
    assert running.restart


async def test_a_beat_of_another_version_hides_no_replica(group: Group) -> None:
    one = await group.add("one")
    register = one.plane.fleet._register
    assert isinstance(register, RedisRegister)
    said = {"replica": "newer", "revision": 1, "inference": "", "admin": "", "started": 1.0}
    waits = {"target": "b@1", "since": 1, "error": None, "tries": 4}
    text = json.dumps(said | {"mood": "fine", "pending": {"v": waits}})
    group.server.client().hset(register._key, "newer", f"{int(time.time() * 1000)} {text}")
    seen: dict[str, Beat] = {}
    async with asyncio.timeout(20):
        while "one" not in seen:  # its first beat comes after the start
            seen = {s.beat.replica: s.beat for s in await one.plane.fleet.seen()}
    assert seen["newer"].pending == {"v": Waits("b@1", 1)}


async def test_a_beat_that_failed_in_an_unforeseen_way_is_followed_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet, "BEAT_S", 0.01)
    register, faults = AloneRegister(), [RuntimeError("unforeseen")]

    async def call(function: Callable[..., Any], *arguments: object) -> Any:
        if faults:
            raise faults.pop()
        return function(*arguments)

    member = Fleet(register, lambda: Beat("one", 1, "", "", 1.0), call)
    beating = asyncio.create_task(member.run())
    await until(lambda: bool(register.seen()))
    beating.cancel()


async def test_two_replicas_with_one_name_are_told_apart(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    one = await group.add("one")
    twin = Replica("one", group.folder / "elsewhere", group.server.url)
    twin.folder.parent.mkdir()
    group.replicas.append(twin)
    await twin.start()
    async with asyncio.timeout(30):
        while True:
            live = {s.beat.replica for s in await one.plane.fleet.seen() if s.live}
            names = {one.plane.fleet.name, twin.plane.fleet.name}
            if len(names) == 2 and names == live:
                break
            await asyncio.sleep(0.02)
    assert "a name of its own with --replica" in caplog.text
    done = await one.plane.disable("w", ADA)
    answers = await one.plane.fleet.acknowledged(done.revision, "w", 20)
    assert [a.answer for a in answers] == [Answer.OBEYED] * 2


async def test_a_replica_that_was_killed_keeps_its_name_when_it_comes_back(group: Group) -> None:
    one = await group.add("one")
    await until(lambda: one.plane.fleet._beaten)
    await one.plane.close()
    before = Beat("one", 1, "", "", 1.0, instance="killed before it could leave")
    await asyncio.to_thread(one.plane.fleet._register.beat, before)
    await one.start()
    for _ in range(3):
        one.plane.fleet._beaten = False
        one.plane.fleet.changed()
        await until(lambda: one.plane.fleet._beaten)
    assert one.plane.fleet.name == "one"


async def test_a_second_gateway_on_one_copy_is_refused(group: Group) -> None:
    one = await group.add("one")
    second = Replica("one", group.folder, group.server.url)
    with pytest.raises(NotAllowed, match=r"name of its own \(--replica\)"):
        await second.start()
    await second.plane.close()
    await one.plane.close()
    await second.start()
    await second.plane.close()


async def test_a_rollback_holds_no_disable_up_while_it_reads_a_long_history(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await group.add("one")
    await one.plane.apply_text(TABLE.replace("a@1", "b@1"), source=API_SOURCE, command=ADA)
    read, reading, go_on = RedisLog.records, threading.Event(), threading.Event()

    def slowly(log: RedisLog, *, after: int = 0, limit: int | None = None) -> Any:
        if after == 0 and limit is None:
            reading.set()
            go_on.wait(30)
        return read(log, after=after, limit=limit)

    monkeypatch.setattr(RedisLog, "records", slowly)
    back = asyncio.create_task(one.plane.rollback("w", ADA))
    await until(reading.is_set)
    await one.plane.disable("v", BOB)
    assert not back.done()
    go_on.set()
    assert (await back).event is not None
    assert one.goes_to() == ("a@1", Reason.PINNED)
