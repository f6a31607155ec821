"""Several replicas on one real Redis: their truth survives what happens to the Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from gateway.access import commands as keys
from gateway.access.secret import new_key
from gateway.access.values import ClientGrant
from gateway.errors import LogUnavailable, NotAllowed
from gateway.log.redis import RedisLog
from gateway.routing.events import RouteDisabled
from gateway.routing.table import Reason
from tests.gateway.control.group import ADA, BOB, TABLE, Group, until
from tests.redis_server import RedisServer


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
    with pytest.raises(LogUnavailable, match="With --local"):
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
    assert "there is no table to serve" in one.plane.not_ready
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
