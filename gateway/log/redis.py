"""The revision log as one Redis stream, for many replicas. Needs Redis 6.2 or later.

An entry's id is its revision (`17-0`), so a reader resumes from its last revision. Appends go
through scripts that compare the head first. Old entries move to an archive in compressed segments
and stay readable. All keys share one hash tag, so a Cluster keeps them in one slot.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, replace

from gateway.errors import LogUnavailable
from gateway.log.base import Snapshot, conflict, refuse_unchained
from gateway.log.location import RedisLocation
from gateway.log.record import Record, event_of, from_line, sealed, to_line
from gateway.log.redis_client import Client, RedisConnection
from gateway.routing.events import Draft, Event

_TIMEOUT_S = 1.0
_FIELDS = ("change", "actor", "reason", "at", "origin", "hash")
_PAGE = 500  # records of one answer
_EXTEND_BYTES = 1_000_000  # of one call

# KEYS: stream. ARGV: head expected, its hash, then revision and six fields for each record.
# Answers {1}, or {0, head, its hash, its actor} where the head is another one.
_APPEND = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local head, fields = '0', {actor = '', hash = ''}
if newest then
  head = string.match(newest[1], '^%d+')
  for i = 1, #newest[2], 2 do fields[newest[2][i]] = newest[2][i + 1] end
end
if head ~= ARGV[1] or fields.hash ~= ARGV[2] then
  return {0, head, fields.hash, fields.actor}
end
for i = 3, #ARGV, 7 do
  redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'change', ARGV[i + 1], 'actor', ARGV[i + 2],
    'reason', ARGV[i + 3], 'at', ARGV[i + 4], 'origin', ARGV[i + 5], 'hash', ARGV[i + 6])
end
return {1}
"""

# KEYS: stream, archive, index. ARGV: first and last revision of the segment, the segment, and the
# entries that must be left.
# The index is a sorted set of the segments' first revisions, scored by their last.
_ARCHIVE = """
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local left = redis.call('XLEN', KEYS[1]) - (ARGV[2] - ARGV[1] + 1)
if not oldest or oldest[1] ~= ARGV[1] .. '-0' or left < tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%d-0', tonumber(ARGV[2]) + 1))
return 1
"""


class RedisLog:
    """See `RevisionLog`. Safe from several threads. `wait` has a connection of its own."""

    def __init__(self, location: RedisLocation) -> None:
        """A log at `location`; Redis is first spoken to when it is first used."""
        tag = f"{{{location.namespace}}}"
        self._stream, self._archive, self._index, self._snapshot = (
            f"{tag}:events",
            f"{tag}:archive",
            f"{tag}:archive-index",
            f"{tag}:snapshot",
        )
        self._orders = RedisConnection(location, timeout_s=_TIMEOUT_S)
        self._location = location
        self._waiter: RedisConnection | None = None

    def append(self, draft: Draft, *, expected: int) -> Event:
        """See `RevisionLog.append`."""
        found, chain, actor = self._head()
        if found != expected:
            raise conflict(expected, found, actor)
        record = sealed(draft, expected + 1, chain)
        self._append([record], expected, chain)
        return event_of(record)

    def extend(self, records: Sequence[Record]) -> None:
        """See `RevisionLog.extend`."""
        head, chain, actor = self._head()
        refuse_unchained(records, head, chain, actor)
        batch: list[Record] = []
        size = 0
        for record in records:
            batch.append(record)
            size += len(record.change)
            if size > _EXTEND_BYTES:
                self._append(batch, batch[0].revision - 1, chain)
                chain, batch, size = record.hash, [], 0
        if batch:
            self._append(batch, batch[0].revision - 1, chain)

    def read(self, *, after: int = 0, limit: int | None = None) -> Sequence[Event]:
        """See `RevisionLog.read`."""
        return self._events(self.records(after=after, limit=limit))

    def records(self, *, after: int = 0, limit: int | None = None) -> Sequence[Record]:
        """See `RevisionLog.records`."""
        found: list[Record] = []
        with self._orders.use() as client:
            while limit is None or len(found) < limit:
                page = _PAGE if limit is None else min(_PAGE, limit - len(found))
                last = found[-1].revision if found else after
                entries = client.xrange(self._stream, f"({last}-0", "+", count=page)
                records = [self._record(*entry) for entry in entries]
                if not records or records[0].revision > last + 1:
                    records = self._archived(client, last) or records
                if not records:
                    break
                found += records
        return found if limit is None else found[:limit]

    def wait(self, *, after: int, timeout_s: float) -> Sequence[Record]:
        """See `RevisionLog.wait`."""
        if self._waiter is None:
            self._waiter = RedisConnection(self._location, timeout_s=timeout_s + _TIMEOUT_S)
        with self._waiter.use() as client:
            answer = client.xread(
                {self._stream: f"{after}-0"}, count=_PAGE, block=max(1, int(timeout_s * 1e3))
            )
        if not answer:
            return []
        ((_, entries),) = answer
        records = [self._record(*entry) for entry in entries]
        # What was compacted away between two waits is in the archive.
        return records if records[0].revision == after + 1 else self.records(after=after)

    def head(self) -> int:
        """See `RevisionLog.head`."""
        return self._head()[0]

    def compact(self, *, keep: int, segment: int = 256) -> int:
        """See `RevisionLog.compact`: to the archive, `segment` entries at a time. Several
        replicas may do so at once: each segment moves once.
        """
        moved = 0
        with self._orders.use() as client:
            keep = max(keep, 1)  # the head stays in the stream
            tried = 0
            while client.xlen(self._stream) >= keep + segment:
                entries = client.xrange(self._stream, "-", "+", count=segment)
                records = [self._record(*entry) for entry in entries]
                first, last = records[0].revision, records[-1].revision
                if first == tried:
                    break  # nobody moved them, and this handle may not
                if last - first + 1 != len(records):
                    raise LogUnavailable(
                        f"the log {self._location} lacks entries between revisions {first} and "
                        f"{last}; it is not compacted: look with `gateway audit verify`"
                    )
                tried = first
                blob = _packed("\n".join(to_line(record) for record in records))
                keys = (self._stream, self._archive, self._index)
                if client.eval(_ARCHIVE, 3, *keys, first, last, blob, keep):
                    moved += len(records)
        return moved

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """See `RevisionLog.keep_snapshot`."""
        text = json.dumps({**asdict(snapshot), "state": _packed(snapshot.state)})
        with self._orders.use() as client:
            client.set(self._snapshot, text)

    def snapshot(self) -> Snapshot | None:
        """See `RevisionLog.snapshot`."""
        with self._orders.use() as client:
            text = client.get(self._snapshot)
        if text is None:
            return None
        try:
            found = Snapshot(**json.loads(text))
            found = replace(found, state=_unpacked(found.state))
        except (ValueError, TypeError, zlib.error) as error:
            raise LogUnavailable(
                f"the snapshot beside the log {self._location} cannot be read: {error!r}; delete "
                f"the key {self._snapshot}, a new one is made"
            ) from error
        of = self.records(after=found.revision - 1, limit=1)
        return (
            found if of and (of[0].revision, of[0].hash) == (found.revision, found.hash) else None
        )

    def close(self) -> None:
        """Drop the connections; a blocked `wait` ends with LogUnavailable."""
        self._orders.close()
        if self._waiter is not None:
            self._waiter.close()

    def _append(self, records: Sequence[Record], expected: int, chain: str) -> None:
        arguments: list[str] = [str(expected), chain]
        for r in records:
            fields = (str(r.revision), r.change, r.actor, r.reason, repr(r.at), r.origin, r.hash)
            arguments += fields
        try:
            with self._orders.use() as client:
                answer = client.eval(_APPEND, 1, self._stream, *arguments)
        except LogUnavailable as error:
            if self._arrived(records[-1]):
                return
            raise LogUnavailable(
                f"{error.message}; it is not known whether revision {records[-1].revision} was "
                "appended: look with `gateway history` once the log is back"
            ) from error
        if not answer[0]:
            raise conflict(expected, int(answer[1]), answer[3] or None)

    def _arrived(self, record: Record) -> bool:
        """Whether an append whose answer was lost took place after all."""
        self._orders.close()
        try:
            found = self.records(after=record.revision - 1, limit=1)
        except LogUnavailable:
            return False
        return bool(found) and found[0].hash == record.hash

    def _head(self) -> tuple[int, str, str | None]:
        """The newest revision, its hash, and who made it."""
        with self._orders.use() as client:
            entries = client.xrevrange(self._stream, count=1)
        if not entries:
            return 0, "", None
        newest = self._record(*entries[0])
        return newest.revision, newest.hash, newest.actor

    def _archived(self, client: Client, after: int) -> list[Record]:
        """The records that follow `after` in their archive segment; none where none is there."""
        names = client.zrangebyscore(self._index, after + 1, "+inf", start=0, num=1)
        if not names:
            return []
        blob = client.hget(self._archive, names[0])
        try:
            records = [from_line(line) for line in _unpacked(blob or "").split("\n")]
        except (ValueError, zlib.error) as error:
            raise LogUnavailable(
                f"the log {self._location} holds an archive segment {names[0]} that cannot be read "
                f"({error!r}); restore the field of that name in the hash {self._archive}"
            ) from error
        return [record for record in records if record.revision > after]

    def _record(self, entry: str, fields: dict[str, str]) -> Record:
        try:
            change, actor, reason, at, origin, chain = (fields[name] for name in _FIELDS)
            revision = int(entry.partition("-")[0])
            return Record(revision, change, actor, reason, float(at), origin, chain)
        except (KeyError, ValueError) as error:
            raise LogUnavailable(
                f"the log {self._location} holds an entry {entry} that is no event ({error!r}); "
                "use another namespace, or restore the stream"
            ) from error

    def _events(self, records: Sequence[Record]) -> list[Event]:
        try:
            return [event_of(record) for record in records]
        except ValueError as error:
            raise LogUnavailable(f"the log {self._location} cannot be read: {error}") from error


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode())).decode()


def _unpacked(text: str) -> str:
    """Raises ValueError and zlib.error."""
    return zlib.decompress(base64.b64decode(text, validate=True)).decode()
