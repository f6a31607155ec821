"""What a revision log promises. Back ends: SQLite (`sqlite.py`); one contract test runs on all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.log.record import Record
from gateway.routing.events import Draft, Event


class RevisionLog(Protocol):
    """An append-only, numbered log. Methods block; call them off the event loop.

    All methods raise `LogUnavailable` where the store cannot be reached or is damaged.
    """

    def append(self, draft: Draft, *, expected: int) -> Event:
        """Append `draft` as revision `expected + 1` and return it once it is durable.

        Raises RevisionConflict (naming who moved the log) where the head is not `expected`;
        then nothing was written.
        """
        ...

    def read(self, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """Events with revision > `after`, oldest first, at most `limit` of them."""
        ...

    def records(self, *, after: int = 0, limit: int | None = None) -> Sequence[Record]:
        """The same as they are stored, with the chain's hashes: for audit and for copies."""
        ...

    def head(self) -> int:
        """The newest revision, 0 for an empty log."""
        ...

    def close(self) -> None: ...
