"""A snapshot against the history it stands for: read beside serving, for it may have been edited.

The hash chain covers the events alone. Whoever begins from a snapshot therefore replays them all
the same, and has its own copy of the log by that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.control.copy import LocalCopy
from gateway.control.live import LiveTable
from gateway.errors import LogUnavailable
from gateway.log.base import RevisionLog
from gateway.log.record import Record, event_of, verify
from gateway.routing.fold import RoutingState, fold_all

log = logging.getLogger(__name__)

_AGAIN_S = 1.0  # between two tries to read a log that is away


async def prove(
    revisions: RevisionLog,
    live: LiveTable,
    copy: LocalCopy,
    begun: RoutingState,
    call: Callable[..., Awaitable[Any]],
) -> None:
    """Read the history up to `begun`, which `live` began from, and fill the held `copy` with it.

    Where the history comes to another state, it is what is served from then on. Where it is broken
    before that, nobody can tell what is right: what is served stays, and the copy is not made.
    """
    while True:
        try:
            records = await call(revisions.records, limit=begun.revision)
            break
        except LogUnavailable:
            await asyncio.sleep(_AGAIN_S)
    try:
        broken, proven = await call(_judged, records, begun)
    except LogUnavailable as error:
        copy.hold(error.message)
        log.error("the log before revision %s: %s", begun.revision, error.message)
        return
    if not copy.held:
        return  # another history was taken over meanwhile, and is in the copy
    if broken is not None:
        copy.hold(f"revision {broken} of the log is not as it was appended")
        log.error(
            "the log was edited before revision %s, where its snapshot is: revision %s is not as "
            "it was appended; look with `gateway audit verify`, and restore the log",
            begun.revision,
            broken,
        )
    elif proven:
        copy.fill(records)
    else:
        log.error(
            "the log's snapshot of revision %s is not what its history comes to; it was edited, "
            "and the history is served instead",
            begun.revision,
        )
        await _serve_history(revisions, live, copy, call)


async def _serve_history(
    revisions: RevisionLog, live: LiveTable, copy: LocalCopy, call: Callable[..., Awaitable[Any]]
) -> None:
    while copy.held:
        try:
            records = await call(revisions.records)
            state = await call(_folded, records)
        except LogUnavailable:
            await asyncio.sleep(_AGAIN_S)
            continue
        if copy.held and state.revision >= live.state.revision:
            live.begin(state, records[-1].hash, records[-1].actor)
            copy.begin_anew(records)


def _judged(records: Sequence[Record], begun: RoutingState) -> tuple[int | None, bool]:
    """The first broken revision, if any; and whether the records come to `begun`."""
    broken = verify(records)
    if broken is None and len(records) < begun.revision:
        broken = len(records) + 1
    return broken, broken is None and _folded(records) == begun


def _folded(records: Sequence[Record]) -> RoutingState:
    try:
        return fold_all(map(event_of, records))
    except ValueError as error:
        raise LogUnavailable(f"the log cannot be read: {error}") from error
