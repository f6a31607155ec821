"""An event as a log keeps it, and the hash chain over such records. Pure; no I/O.

The chain is over the text that was stored, never over a value encoded again: fields that a later
version adds must not make the past look edited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from gateway.routing.codec import decode_change, encode_change
from gateway.routing.events import Draft, Event


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a log. `hash` is empty where the row is older than the chain."""

    revision: int
    change: str  # JSON, as it was appended
    actor: str
    reason: str
    at: float  # seconds since the epoch
    origin: str
    hash: str  # sha256 hex over the hash before and this row


def sealed(draft: Draft, revision: int, previous: str) -> Record:
    """`draft` as the record of `revision`, chained to the hash of the record before it."""
    record = Record(
        revision,
        encode_change(draft.change),
        draft.actor,
        draft.reason,
        float(draft.at),
        draft.origin,
        "",
    )
    return replace(record, hash=hash_of(record, previous))


def hash_of(record: Record, previous: str) -> str:
    """sha256 hex over the previous record's hash and everything that `record` says."""
    said = [
        previous,
        record.revision,
        record.change,
        record.actor,
        record.reason,
        record.at,
        record.origin,
    ]
    text = json.dumps(said, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def verify(records: Iterable[Record], *, previous: Record | None = None) -> int | None:
    """The first revision that is not as it was appended, or None where all are.

    `records` are in order, from the first of the log or from the one after `previous`. Records
    older than the chain carry no hash and cannot be checked; the chain starts where it starts,
    and no record without a hash may follow one that has it.
    """
    revision = previous.revision if previous is not None else 0
    chain = previous.hash if previous is not None else ""
    for record in records:
        revision += 1
        if record.revision != revision:
            return revision
        if not record.hash and not chain:
            continue
        if record.hash != hash_of(record, chain):
            return revision
        chain = record.hash
    return None


def event_of(record: Record) -> Event:
    """The event a record says. Raises ValueError for what this version cannot read."""
    return Event(
        record.revision,
        decode_change(record.change),
        record.actor,
        record.reason,
        record.at,
        record.origin,
        record.hash,
    )


def to_line(record: Record) -> str:
    """The record as one line of JSON, for an archive or a file."""
    return json.dumps(asdict(record), ensure_ascii=False, allow_nan=False)


def from_line(text: str) -> Record:
    """The record that `to_line` wrote. Raises ValueError."""
    stated: Any = json.loads(text)
    try:
        record = Record(**stated)
    except TypeError as error:
        raise ValueError(f"not a record of the log: {error}") from None
    if not isinstance(record.revision, int) or not isinstance(record.change, str):
        raise ValueError(f"not a record of the log: {text[:80]!r}")
    return replace(record, at=float(record.at))
