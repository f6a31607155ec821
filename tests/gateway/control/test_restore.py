"""A Redis that is lost with every replica: one kept copy brings the history back."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.log.redis import RedisLog
from gateway.log.sqlite import FILE_NAME
from gateway.routing.table import Reason
from tests.gateway.control.group import ADA, Group, until


async def test_an_empty_redis_gets_the_history_from_the_first_replica_with_a_kept_copy(
    group: Group,
) -> None:
    one = await group.add("one")
    await one.plane.disable("v", ADA)
    records = await asyncio.to_thread(cast(RedisLog, one.plane._history.log).records)
    await one.plane.close()
    group.replicas.clear()
    group.server.kill()
    group.server.start()  # without an append-only file: empty

    kept = group.folder / "two" / "copy" / FILE_NAME
    kept.parent.mkdir(parents=True)
    (one.folder / "copy" / FILE_NAME).rename(kept)
    two = await group.add("two")
    await until(lambda: two.plane.log_error is None)
    three = await group.add("three")
    await group.agree()
    assert three.goes_to("v") == ("base", Reason.DISABLED)
    assert await asyncio.to_thread(cast(RedisLog, three.plane._history.log).records) == records
