"""What each client key has used of its limits, in this process.

The one mutable record of access; it belongs to the event loop. Each replica counts for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway.access.buckets import Bucket
from gateway.access.keyring import Client
from gateway.access.values import Limit
from gateway.errors import RateLimited

Clock = Callable[[], float]
_A_MOMENT_S = 1.0


@dataclass(slots=True, eq=False)
class Usage:
    """One key's use. `client.grant` has the limits."""

    client: Client
    clock: Clock
    requests: Bucket | None
    tokens: Bucket | None
    running: int = 0

    def begin(self) -> None:
        """Let one more request in. Raises RateLimited; then nothing was counted. Each `begin`
        needs its `end`."""
        most = self.client.grant.concurrent_requests
        if most is not None and self.running >= most:
            raise self._refusal(Limit.CONCURRENT, most, _A_MOMENT_S)
        if self.requests is not None:
            now = self.clock()
            if wait_s := self.requests.wait_s(1, now):
                raise self._refusal(Limit.REQUESTS, self.requests.per_minute, wait_s)
            self.requests = self.requests.spend(1, now)
        self.running += 1

    def end(self) -> None:
        """A request that `begin` let in has ended."""
        self.running -= 1

    def admit(self, prompt_tokens: int) -> None:
        """Count a prompt. Raises RateLimited where the tokens do not suffice for it now."""
        if self.tokens is None:
            return
        now = self.clock()
        if wait_s := self.tokens.wait_s(prompt_tokens, now):
            raise self._refusal(Limit.TOKENS, self.tokens.per_minute, wait_s)
        self.tokens = self.tokens.spend(prompt_tokens, now)

    def spend(self, tokens: int) -> None:
        """Count tokens of an answer. A running answer is never cut; the next request waits."""
        if self.tokens is not None:
            self.tokens = self.tokens.spend(tokens, self.clock())

    def _refusal(self, limit: Limit, allowed: int, wait_s: float) -> RateLimited:
        return RateLimited(
            f"key {self.client.key.name} is at its limit of {allowed} {limit.replace('_', ' ')}; "
            f"ask again in {wait_s:.1f} s",
            key=self.client.key.name,
            limit=limit,
            allowed=allowed,
            retry_after_s=wait_s,
        )


class UsageBook:
    """The usage of every key that asked since the start."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._usage: dict[str, Usage] = {}

    def of(self, client: Client) -> Usage:
        """The key's usage, begun with full buckets."""
        usage = self._usage.get(client.key.id)
        if usage is None:
            now, grant = self._clock(), client.grant
            usage = self._usage[client.key.id] = Usage(
                client,
                self._clock,
                _bucket(grant.requests_per_minute, now),
                _bucket(grant.tokens_per_minute, now),
            )
        return usage

    def forget_all_but(self, live: Collection[str]) -> None:
        """Drop the usage of keys whose id is not in `live`."""
        self._usage = {id: usage for id, usage in self._usage.items() if id in live}


def _bucket(per_minute: int | None, now: float) -> Bucket | None:
    return None if per_minute is None else Bucket.full(per_minute, now)
