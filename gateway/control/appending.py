"""One append at a time: catch up, decide, append, and only then is it in force.

Every command of this replica queues here for the log alone, so that a disable never waits for a
table that is being validated, for a disk or for the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.control.history import History
from gateway.control.live import LiveTable
from gateway.control.values import Command, Committed, changes_between
from gateway.errors import RevisionConflict
from gateway.log.base import conflict
from gateway.routing.events import Change, Draft

# Decides on the state in force; None changes nothing.
Decide = Callable[[], Awaitable[Change | None]]
Commit = Callable[[Decide, Command], Awaitable[Committed]]


class Appender:
    """For one event loop."""

    def __init__(
        self, history: History, live: LiveTable, replica: str, clock: Callable[[], float]
    ) -> None:
        self._history = history
        self._live = live
        self._replica = replica
        self._clock = clock
        self._lock = asyncio.Lock()

    async def catch_up(self) -> None:
        """Take in what the log has. Raises LogUnavailable."""
        async with self._lock:
            await self._history.catch_up()

    def draft(self, change: Change, command: Command) -> Draft:
        """`change` as this replica would append it now."""
        origin = "/".join(part for part in (self._replica, command.origin) if part)
        return Draft(change, command.actor, command.reason, self._clock(), origin)

    async def commit(self, decide: Decide, command: Command) -> Committed:
        """Catch up, decide, append and swap; nothing where None is decided.

        A command that names its revision fails where the log has moved; one that names none is
        decided again on what the log holds then. Raises RevisionConflict, LogUnavailable, and
        what `decide` raises.
        """
        async with self._lock:
            while True:
                await self._history.catch_up()
                self._refuse_moved(command.expected_revision)
                change = await decide()
                # Deciding may have waited, and the follower may have taken something meanwhile.
                self._refuse_moved(command.expected_revision)
                if change is None:
                    return Committed(None, self._live.state.revision, ())
                before = self._live.table
                try:
                    event = await self._history.append(self.draft(change, command))
                except RevisionConflict:
                    if command.expected_revision is not None:
                        raise
                    continue
                return Committed(event, event.revision, changes_between(before, self._live.table))

    def _refuse_moved(self, expected: int | None) -> None:
        if expected not in (None, self._live.state.revision):
            raise conflict(expected or 0, self._live.state.revision, self._live.moved_by)
