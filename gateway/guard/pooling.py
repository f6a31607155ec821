"""Takes each replica's counts to the fleet's pool, at most once a second, off the request path.

Where the store is away, what was counted waits, and each replica decides by its own evidence.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from gateway.errors import LogUnavailable
from gateway.guard.panel import Evidence, Panel
from gateway.guard.pool import POOLED, Batch, Merged, Share
from gateway.guard.values import GuardRule
from gateway.guard.watched import Watched

log = logging.getLogger("gateway.guard")

POST_S = 1.0
_TRIES = 4  # of a compare-and-set, before it waits for the next turn
_MOST = 64  # versions of routes in one exchange; the rest have their turn in the next


class EvidenceStore(Protocol):
    """Where the pooled evidence lies, a text for each key. Methods block and raise
    LogUnavailable; then it is not known whether a write arrived."""

    def read(self, keys: Sequence[str]) -> list[tuple[int, str | None]]:
        """For each key its turn and its text; 0 and None where there is none."""
        ...

    def write(self, changes: Sequence[tuple[str, int, str]]) -> list[bool]:
        """Set each key's text where its turn is still the one that is stated; whether it was.
        A text is forgotten some days after it was last set."""
        ...


class Pooling:
    """This replica's hand in the pool. Belongs to the watch's event loop."""

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store
        self._behind = 0  # where the next exchange begins, where there are too many for one
        self.error: str | None = None  # why the store cannot be used, if it cannot

    def share(
        self, rule: GuardRule, schema: Mapping[str, Any] | None, key: str, since: int
    ) -> Share:
        """The share in the version `key` of a route's arm; see `Share`. `schema` is the route's."""
        panel = Panel(rule, schema, part=POOLED, pooled=True)
        return Share(key, since, uuid.uuid4().hex, panel)

    async def exchange(self, watched: Iterable[Watched]) -> list[tuple[Watched, Evidence]]:
        """Say what is new, and hear what all replicas know; the trips that follow."""
        jobs: list[tuple[Watched, Share, Batch]] = []
        for one in watched:
            batch = None if one.share is None else one.share.batch()
            if one.share is not None and batch is not None:
                jobs.append((one, one.share, batch))
        jobs = self._turn(jobs)
        if not jobs:
            return []
        try:
            merged = await asyncio.to_thread(self._carry, [job[1:] for job in jobs])
        except LogUnavailable as error:
            if self.error is None:
                log.warning("guards decide alone until the pool is back: %s", error.message)
            self.error = error.message
            return []
        self.error = None
        found = []
        for (one, share, _), result in zip(jobs, merged, strict=True):
            if result is not None:
                found += [(one, evidence) for evidence in share.settle(result)]
        return found

    def _turn(self, jobs: list[tuple[Watched, Share, Batch]]) -> list[tuple[Watched, Share, Batch]]:
        if len(jobs) <= _MOST:
            return jobs
        first = self._behind % len(jobs)
        self._behind = first + _MOST
        return (jobs[first:] + jobs[:first])[:_MOST]

    def _carry(self, jobs: Sequence[tuple[Share, Batch]]) -> list[Merged | None]:
        """Merge each batch into its text in the store; None for one that others were always
        faster than: it stays in flight. Blocks."""
        found: list[Merged | None] = [None] * len(jobs)
        left = list(range(len(jobs)))
        for _ in range(_TRIES):
            kept = self._store.read([jobs[at][0].key for at in left])
            changes, at_change = [], []
            for at, (turn, text) in zip(left, kept, strict=True):
                share, batch = jobs[at]
                merged = share.merge(text, batch)
                if merged.text is None:
                    found[at] = merged
                else:
                    changes.append((share.key, turn, merged.text))
                    at_change.append((at, merged))
            written = self._store.write(changes) if changes else []
            left = []
            for (at, merged), done in zip(at_change, written, strict=True):
                if done:
                    found[at] = merged
                else:
                    left.append(at)
            if not left:
                break
        return found
