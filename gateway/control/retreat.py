"""Takes back a revision that no replica can hold: pins the route before it, or aborts its canary,
with the reason."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from gateway.control.adapters import KnownAdapters
from gateway.control.appending import Commit
from gateway.control.fleet import Seen, not_holdable
from gateway.control.live import LiveTable
from gateway.control.values import Command
from gateway.errors import GatewayError, NotAllowed, NotFound
from gateway.routing import commands
from gateway.routing.events import CanaryAborted, Change, Event, RouteDisabled
from gateway.routing.fold import canary_of
from gateway.routing.table import Target

log = logging.getLogger(__name__)

ACTOR = "gateway"
_AFTER_S = 2.0  # how long every replica must have failed: a folder may be filled this moment


class Retreat:
    """Looks at the beats of all replicas; the first live one by name acts for all. `name` tells
    this one's."""

    def __init__(
        self,
        name: Callable[[], str],
        live: LiveTable,
        adapters: KnownAdapters,
        events: Callable[[], Awaitable[Sequence[Event]]],
        commit: Commit,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._live = live
        self._adapters = adapters
        self._events = events
        self._commit = commit
        self._monotonic = monotonic
        self._failing_since: dict[tuple[str, str], float] = {}

    async def consider(self, seen: Sequence[Seen]) -> None:
        """Take back what all live replicas have failed to hold for long enough."""
        failing = {(name, w.target): w for name, w in not_holdable(seen).items()}
        now = self._monotonic()
        self._failing_since = {key: self._failing_since.get(key, now) for key in failing}
        live = sorted(one.beat.replica for one in seen if one.live)
        if not live or live[0] != self._name():
            return
        for (workflow, target), waits in failing.items():
            if now - self._failing_since[workflow, target] < _AFTER_S:
                continue
            try:
                await self._take_back(workflow, waits.error or "")
            except GatewayError as error:
                log.error("%s could not be taken back: %s", workflow, error.message)

    async def _take_back(self, workflow: str, why: str) -> None:
        mine = self._live.pending.get(workflow)
        if mine is None:
            return
        reason = f"no replica can hold {mine.target} (revision {mine.since}): {why}"

        async def decide() -> Change | None:
            events = await self._events()
            now = self._live.pending.get(workflow)
            if now is None or now.target != mine.target:
                return None
            tried = canary_of(self._live.state, workflow)
            if tried is not None and tried.canary.target == now.target:
                return CanaryAborted(workflow, now.target)
            try:
                published = self._adapters.published
                pin = commands.rollback(events, workflow, None, "finish", published)
            except (NotAllowed, NotFound):
                return RouteDisabled(workflow)
            return pin if self._holds(pin.route.target) else RouteDisabled(workflow)

        done = await self._commit(decide, Command(ACTOR, reason))
        if done.event is not None:
            log.error("%s was taken back at revision %s: %s", workflow, done.revision, reason)

    def _holds(self, target: Target) -> bool:
        return self._adapters.lost(target) is None
