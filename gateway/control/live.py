"""The live table and what it is made of: the folded log, local orders, adapters that are here.

One writer, the event loop. Requests read `table`, a plain attribute swapped by one assignment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from gateway.control.adapters import KnownAdapters
from gateway.control.gate import Pending, gated
from gateway.control.values import targets_of
from gateway.log.record import Record, hash_of
from gateway.registry.values import AdapterState
from gateway.routing.effective import View, view
from gateway.routing.events import (
    CanaryAborted,
    Change,
    Draft,
    Event,
    RouteDisabled,
    RoutePinned,
)
from gateway.routing.fold import RoutingState, adapter_state, fold, with_hand_of
from gateway.routing.table import RoutingTable, Target

log = logging.getLogger(__name__)

OnSwap = Callable[[RoutingTable, RoutingTable, Event], None]
_SUBSCRIBER_BOUND = 1024


class LiveTable:
    """State, table and their listeners. `derived` is called after every change of the table."""

    def __init__(self, adapters: KnownAdapters, derived: Callable[[], None]) -> None:
        self._adapters = adapters
        self._derived = derived
        self._deferred: dict[str, Event] = {}  # rollbacks whose adapter is not here yet
        self._on_swap: list[OnSwap] = []
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self.state = RoutingState()  # the fold of the log alone
        self.hash = ""  # of the newest event
        self.moved_by: str | None = None
        self.local: tuple[Draft, ...] = ()  # orders this replica obeys and the log has not yet
        self.pending: dict[str, Pending] = {}
        self._wanted = view(self.state)
        self.table: RoutingTable = self._wanted.table

    def follows(self, record: Record) -> bool:
        """Whether `record` is the next event of the history that is folded here."""
        if record.revision != self.state.revision + 1:
            return False
        chained = bool(record.hash or self.hash)
        return not chained or record.hash == hash_of(record, self.hash)

    def take(self, event: Event) -> None:
        """Fold one event and swap the live table. Raises ValueError where it is not the next."""
        self.state = fold(self.state, event)
        self.hash, self.moved_by = event.hash, event.actor
        old = self.table
        self._derive()
        change = event.change
        if isinstance(change, RoutePinned) and change.workflow in self.pending:
            self._deferred[change.workflow] = event  # running requests stay until it is effective
        else:
            self._notify(old, event)
        self._notify_deferred(old)
        for queue in list(self._subscribers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                # The reader resumes from the log by its last revision; waiting would stall all.
                self._subscribers.discard(queue)
                _end(queue)

    def begin(self, state: RoutingState, chain: str, actor: str | None) -> None:
        """Start over from a folded state: at a start, or where the log has another history."""
        self.state, self.hash, self.moved_by = state, chain, actor
        self._wanted = view(state)  # none of its routes is new
        self._derive()

    def refresh(self) -> None:
        """Derive the table again: something changed about adapters."""
        old = self.table
        self._derive()
        self._notify_deferred(old)

    def obey_locally(self, drafts: Sequence[Draft]) -> None:
        """Lay `drafts` over the log's state, instead of those laid over it before."""
        old, known = self.table, self.local
        self.local = tuple(drafts)
        self._derive()
        for draft in drafts:
            if draft not in known:
                seen = Event(self.state.revision, draft.change, draft.actor, draft.reason, draft.at)
                self._notify(old, seen)

    def on_swap(self, callback: OnSwap) -> None:
        """Call `callback(old, new, event)` after every swap."""
        self._on_swap.append(callback)

    async def subscribe(self) -> AsyncIterator[Event]:
        """Events from now on. Ends at `end`, or where the reader fell too far behind."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(_SUBSCRIBER_BOUND)
        self._subscribers.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._subscribers.discard(queue)

    def end(self) -> None:
        """Let subscribers end."""
        for queue in self._subscribers:
            _end(queue)

    @property
    def named(self) -> set[Target]:
        """The adapters that the table's routes name: targets also of disabled ones, as an enable
        must find them, and fallbacks, as a disable must."""
        return self._wanted.uses.keys() | targets_of(self.table.decisions.held.values())

    def preview(self, change: Change) -> View:
        """What would be wanted after `change`, were every adapter here."""
        event = Event(self.state.revision + 1, change, "", "", 0.0)
        return view(fold(self.state, event), self._adapters.published, before=self._wanted)

    def _derive(self) -> None:
        state = self.state
        for draft in self.local:
            if isinstance(draft.change, RouteDisabled | CanaryAborted):
                state = with_hand_of(state, draft)
        before = self._wanted
        self._wanted = view(state, self._adapters.published, self._adapters.lost, before)
        self.table, self.pending = gated(
            self.table, before.table, self._wanted, self.usable, self._revoked, self.pending
        )
        self._derived()

    def _revoked(self, target: Target) -> bool:
        if target.digest is None:
            return False
        published = self._adapters.published(target.digest)
        return adapter_state(self.state, target.digest, published) is AdapterState.REVOKED

    def usable(self, target: Target) -> bool:
        """Whether `target` is not revoked and can be served by this process."""
        return not self._revoked(target) and self._adapters.lost(target) is None

    def _notify_deferred(self, old: RoutingTable) -> None:
        for workflow in [name for name in self._deferred if name not in self.pending]:
            self._notify(old, self._deferred.pop(workflow))

    def _notify(self, old: RoutingTable, event: Event) -> None:
        for callback in self._on_swap:
            try:
                callback(old, self.table, event)
            except Exception:  # the event is durable and live: nothing may stop halfway
                log.exception("a listener failed on revision %s", event.revision)


def _end(queue: asyncio.Queue[Event | None]) -> None:
    """Have the reader end; where it is far behind, at the price of its last event."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(None)
