"""What a revision log promises. Back ends: SQLite (`sqlite.py`) and Redis (`redis.py`); one
contract test runs on all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import RevisionConflict
from gateway.log.record import Record, verify
from gateway.routing.events import Draft, Event


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the log comes to at a revision, kept beside it. A head start and no truth: who begins
    from it replays the history all the same, beside serving."""

    revision: int
    hash: str  # of that revision's record
    actor: str  # who made that revision
    state: str  # as `routing.codec` encodes it


class RevisionLog(Protocol):
    """An append-only, numbered log. Methods block; call them off the event loop.

    All methods raise `LogUnavailable` where the store cannot be reached or is damaged.
    """

    def append(self, draft: Draft, *, expected: int) -> Event:
        """Append `draft` as revision `expected + 1` and return it once the store has it.

        Raises RevisionConflict (naming who moved the log) where the head is not `expected`;
        then nothing was written.
        """
        ...

    def extend(self, records: Sequence[Record]) -> None:
        """Append records as they stand, after the head that they are chained to: for a writer
        that knows the history, and for what a store lost. Raises RevisionConflict as `append`
        where the head is another one, also one with the same revision."""
        ...

    def read(self, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """Events with revision > `after`, oldest first, at most `limit` of them."""
        ...

    def records(self, *, after: int = 0, limit: int | None = None) -> Sequence[Record]:
        """The same as they are stored, with the chain's hashes: for audit and for copies."""
        ...

    def wait(self, *, after: int, timeout_s: float) -> Sequence[Record]:
        """Records with revision > `after` as soon as there are any; none after `timeout_s`."""
        ...

    def head(self) -> int:
        """The newest revision, 0 for an empty log."""
        ...

    def compact(self, *, keep: int) -> int:
        """Move all but the newest `keep` records, or some more, to where they cost less; they stay
        readable. Returns how many were moved."""
        ...

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Keep `snapshot` in place of the one before. A log that is near keeps none."""
        ...

    def snapshot(self) -> Snapshot | None:
        """The snapshot that was kept last, if its revision is in the log as it was then."""
        ...

    def close(self) -> None: ...


def conflict(expected: int, actual: int, actor: str | None) -> RevisionConflict:
    """The refusal of an append that was decided on `expected` while the head is `actual`."""
    return RevisionConflict(
        f"the log is at revision {actual}, moved by {actor}; "
        f"this was decided on revision {expected}",
        expected=expected,
        actual=actual,
        actor=actor,
    )


def refuse_unchained(records: Sequence[Record], head: int, chain: str, actor: str | None) -> None:
    """Raises RevisionConflict where `records` do not follow the head with the hash `chain`."""
    before = Record(head, "", "", "", 0.0, "", chain)
    if verify(records, previous=before) is not None:
        raise conflict(records[0].revision - 1, head, actor)
