"""Several replicas on one real Redis: one truth, which survives what happens to the Redis."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.access import commands as keys
from gateway.access.secret import new_key
from gateway.access.values import ClientGrant
from gateway.api.inflight import InFlight
from gateway.control import fleet, retreat
from gateway.control.fleet import AloneRegister, Answer, Beat, Fleet, Waits
from gateway.control.plane import Command, ControlPlane
from gateway.errors import LogUnavailable, NotAllowed, RevisionConflict
from gateway.log.location import RedisLocation, parse_location
from gateway.log.record import verify
from gateway.log.redis import RedisLog
from gateway.log.redis_register import RedisRegister
from gateway.routing.events import API_SOURCE, Draft, RouteDisabled, TableApplied
from gateway.routing.table import Reason, Route, Target
from tests.gateway.control.ports import MemoryRegistry, RecordingEngine, adapter
from tests.redis_server import RedisServer

A, B = adapter("a@1"), adapter("b@1")
ADA, BOB = Command("ada", "because"), Command("bob", "as well")
TABLE = "version: 1\nworkflows:\n  w: {target: a@1}\n  v: {target: b@1}\n"


class Replica:
    """One plane with its own disk, registry and engine."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self.name = name
        self.folder = folder / name
        self.url = url
        self.registry = MemoryRegistry(A, B)
        self.engine = RecordingEngine()
        self.plane: ControlPlane

    async def start(self) -> ControlPlane:
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "routes.yaml"
        if not file.exists():
            file.write_text(TABLE)
        location = parse_location(self.url)
        assert isinstance(location, RedisLocation)
        self.plane = ControlPlane(
            RedisLog(location),
            cast(Any, self.registry),
            cast(Any, self.engine),
            file,
            replica=self.name,
            local=self.folder / "copy",
            register=RedisRegister(location),
        )
        await self.plane.start()
        return self.plane

    def goes_to(self, workflow: str = "w") -> tuple[str, Reason]:
        decision = self.plane.table.resolve(workflow)
        assert decision is not None
        return str(decision.target), decision.reason


class Group:
    """Replicas on one Redis."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.replicas: list[Replica] = []

    async def add(self, name: str) -> Replica:
        replica = Replica(name, self.folder, self.server.url)
        self.replicas.append(replica)
        await replica.start()
        return replica

    async def agree(self) -> None:
        await until(
            lambda: (
                len({r.plane.state.revision for r in self.replicas}) == 1
                and all(r.plane.log_error is None and not r.plane.owed for r in self.replicas)
            )
        )
        states = [r.plane.state for r in self.replicas]
        assert all(state == states[0] for state in states)
        log = cast(RedisLog, self.replicas[0].plane._history.log)
        assert verify(await asyncio.to_thread(log.records)) is None


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path / "redis").start()
    yield made
    made.kill()


@pytest.fixture
async def group(server: RedisServer, tmp_path: Path) -> AsyncIterator[Group]:
    made = Group(server, tmp_path)
    yield made
    for replica in made.replicas:
        await replica.plane.close()


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


async def test_a_lost_redis_is_served_without_and_a_local_disable_reaches_all_later(
    group: Group,
) -> None:
    one, two = await group.add("one"), await group.add("two")
    await one.plane.disable("v", ADA)
    await group.agree()
    group.server.kill()
    await until(lambda: one.plane.log_error is not None and two.plane.log_error is not None)
    assert one.plane.stale_seconds > 0
    assert one.goes_to() == ("a@1", Reason.ROUTE)
    with pytest.raises(LogUnavailable):
        await one.plane.disable("w", ADA)
    done = await one.plane.disable("w", ADA, local=True)
    assert (done.owed, done.kept) == (True, True)
    assert one.goes_to() == ("base", Reason.DISABLED)
    assert two.goes_to() == ("a@1", Reason.ROUTE)
    with pytest.raises(NotAllowed):
        await one.plane.disable("w", BOB, local=True)
    # It comes back empty: what it lost is given back from the replicas' copies.
    group.server.start()
    await until(lambda: two.goes_to() == ("base", Reason.DISABLED))
    await group.agree()
    assert two.goes_to("v") == ("base", Reason.DISABLED)
    assert one.plane.stale_seconds == 0
    assert one.plane.state.revision == 3


async def test_a_restart_without_redis_serves_the_copy_and_forgets_no_local_disable(
    group: Group,
) -> None:
    one = await group.add("one")
    await one.plane.disable("v", ADA)
    group.server.kill()
    await until(lambda: one.plane.log_error is not None)
    await one.plane.disable("w", ADA, local=True)
    await one.plane.close()
    await one.start()
    assert one.plane.not_ready is None
    assert one.plane.log_error
    assert one.goes_to("v") == ("base", Reason.DISABLED)
    assert one.goes_to("w") == ("base", Reason.DISABLED)
    group.server.start()
    await group.agree()
    events = await one.plane.history()
    assert isinstance(events[0].change, RouteDisabled)
    assert (events[0].change.workflow, events[0].actor) == ("w", "ada")


async def test_a_start_without_redis_and_copy_is_not_ready_until_it_is_back(group: Group) -> None:
    group.server.kill()
    one = await group.add("one")
    assert one.plane.not_ready is not None
    assert "no copy" in one.plane.not_ready
    group.server.start()
    await until(lambda: one.plane.not_ready is None)
    assert one.goes_to() == ("a@1", Reason.ROUTE)


async def test_a_log_with_another_history_is_taken_over_and_loses_no_disable(
    group: Group,
) -> None:
    one = await group.add("one")
    await one.plane.disable("w", ADA)
    await one.plane.close()
    group.server.kill()  # it loses everything, and a replica without a copy comes first
    group.server.start()
    two = await group.add("two")
    await two.plane.disable("v", BOB)
    await one.start()
    await group.agree()
    for replica in (one, two):
        assert replica.goes_to("w") == ("base", Reason.DISABLED)
        assert replica.goes_to("v") == ("base", Reason.DISABLED)
    (event, *_) = await two.plane.history()
    assert "the log lost revision 2" in event.reason


async def test_a_paused_redis_holds_nothing_up_and_all_agree_when_it_goes_on(group: Group) -> None:
    one, two = await group.add("one"), await group.add("two")
    group.server.pause()
    try:
        with pytest.raises(LogUnavailable):
            await one.plane.disable("v", ADA)
        await until(lambda: two.plane.log_error is not None)
        assert two.goes_to() == ("a@1", Reason.ROUTE)
        await two.plane.disable("w", BOB, local=True)
        assert two.goes_to() == ("base", Reason.DISABLED)
    finally:
        group.server.resume()
    await until(lambda: one.goes_to() == ("base", Reason.DISABLED))
    await group.agree()


async def test_a_redis_killed_with_its_file_comes_back_and_is_followed(
    tmp_path: Path,
) -> None:
    server = RedisServer(tmp_path / "redis", appendonly="yes", appendfsync="always").start()
    group = Group(server, tmp_path)
    try:
        one, two = await group.add("one"), await group.add("two")
        await one.plane.disable("w", ADA)
        server.kill()
        server.start()
        await until(lambda: two.plane.log_error is None and one.plane.log_error is None)
        await two.plane.disable("v", BOB)
        await group.agree()
        assert one.plane.state.revision == 3
    finally:
        for replica in group.replicas:
            await replica.plane.close()
        server.kill()


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


async def test_a_copy_that_cannot_be_written_is_told_and_catches_up(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await group.add("one")
    copy = one.plane._history.copy
    assert copy is not None
    real = copy._append

    def full(_: object) -> None:
        raise LogUnavailable("no space left on device")

    monkeypatch.setattr(copy, "_append", full)
    await one.plane.disable("w", ADA)
    assert "no space" in str(one.plane.copy_error)
    assert one.goes_to() == ("base", Reason.DISABLED)
    monkeypatch.setattr(copy, "_append", real)
    await one.plane.disable("v", ADA)
    assert not one.plane.copy_error
    assert [r.revision for r in copy.records()] == [1, 2, 3]


async def test_what_the_log_lost_is_given_back_although_the_copy_could_not_be_written(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await group.add("one")
    copy = one.plane._history.copy
    assert copy is not None

    def full(_: object) -> None:
        raise LogUnavailable("no space left on device")

    monkeypatch.setattr(copy, "_append", full)
    await one.plane.disable("w", ADA)
    group.server.kill()
    await until(lambda: one.plane.log_error is not None)
    group.server.start()  # it comes back empty
    await until(lambda: one.plane.log_error is None)
    await one.plane.disable("v", ADA)
    await group.agree()
    assert one.plane.state.revision == 3
    assert one.goes_to() == ("base", Reason.DISABLED)


async def test_another_history_is_served_only_once_it_holds_what_it_lost(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await group.add("one")
    key, _ = new_key("app", ClientGrant())
    await one.plane.amend(lambda state: keys.create(state, key), ADA)
    await one.plane.amend(lambda state: keys.revoke(state, "app"), ADA)
    await one.plane.close()
    group.server.kill()
    group.server.start()
    two = await group.add("two")
    await two.plane.amend(lambda state: keys.create(state, key), ADA)  # as from an old backup

    def away(*_: object) -> None:
        raise LogUnavailable("the log went away again")

    with monkeypatch.context() as patch:
        patch.setattr(RedisLog, "extend", away)
        await one.start()
        await until(lambda: "went away again" in str(one.plane.log_error))
        assert one.plane.state.keys[key.id].revoked is not None
    await group.agree()
    for replica in (one, two):
        assert replica.plane.state.keys[key.id].revoked is not None


async def test_local_orders_that_cannot_be_read_stop_the_start(group: Group) -> None:
    one = await group.add("one")
    await one.plane.close()
    orders = one.folder / "copy" / "local-orders.jsonl"
    orders.write_bytes(b'{"workflow": "w"')
    with pytest.raises(LogUnavailable, match=r"local-orders\.jsonl"):
        await one.start()
    orders.unlink()
    await one.start()


async def test_a_replica_whose_file_was_refused_is_ready_once_it_is_mended(group: Group) -> None:
    group.server.kill()
    (group.folder / "one").mkdir()
    file = group.folder / "one" / "routes.yaml"
    file.write_text("version: 1\nworkflows:\n  w: {target: nobody@1}\n")
    one = await group.add("one")
    group.server.start()
    await until(lambda: "not accepted" in str(one.plane.not_ready))
    file.write_text(TABLE)
    await until(lambda: one.plane.not_ready is None)
    assert one.goes_to() == ("a@1", Reason.ROUTE)


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


async def test_a_copy_that_was_behind_holds_the_other_history_that_was_taken_over(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await group.add("one")
    copy = one.plane._history.copy
    assert copy is not None

    def full(_: object) -> None:
        raise LogUnavailable("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(copy, "_append", full)
        await one.plane.disable("w", ADA)
    one.plane._follower.stop()  # it is looked at again when the other history is there
    await asyncio.to_thread(one.plane._follower.join)
    group.server.kill()
    group.server.start()
    await group.add("two")
    await one.plane.disable("v", ADA)
    await group.agree()
    assert not one.plane.copy_error
    log = cast(RedisLog, one.plane._history.log)
    assert copy.records() == await asyncio.to_thread(log.records)
    assert one.goes_to() == ("base", Reason.DISABLED)
