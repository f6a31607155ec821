"""The fleet's register in Redis: one hash, each replica's last beat with the server's time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from gateway.control.fleet import KNOWN_S, Beat, Seen, Waits
from gateway.log.location import RedisLocation
from gateway.log.redis_client import RedisConnection

_TIMEOUT_S = 1.0

# KEYS: hash. ARGV: replica, beat. The value is the server's time in milliseconds, then the beat.
# Answers the value that was there before.
_BEAT = """
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
local before = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', at) .. ' ' .. ARGV[2])
return before
"""

# KEYS: hash. ARGV: age in milliseconds from which a replica is forgotten. Answers {now, {values}}.
_SEEN = """
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
local found = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if at - tonumber(string.match(all[i + 1], '^%d+')) > tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    found[#found + 1] = all[i + 1]
  end
end
return {string.format('%.0f', at), found}
"""


class RedisRegister:
    """See `Register`."""

    def __init__(self, location: RedisLocation) -> None:
        self._key = f"{{{location.namespace}}}:replicas"
        self._connection = RedisConnection(location, timeout_s=_TIMEOUT_S)

    def beat(self, beat: Beat) -> str | None:
        """See `Register.beat`."""
        text = json.dumps(asdict(beat), ensure_ascii=False)
        with self._connection.use() as client:
            before = client.eval(_BEAT, 1, self._key, beat.replica, text)
        return None if before is None else _beat(before.partition(" ")[2]).instance

    def seen(self) -> Sequence[Seen]:
        """See `Register.seen`."""
        with self._connection.use() as client:
            now, values = client.eval(_SEEN, 1, self._key, int(KNOWN_S * 1e3))
        found = []
        for value in values:
            at, _, text = value.partition(" ")
            age_s = max(0.0, (int(now) - int(at)) / 1e3)
            found.append(Seen(_beat(text), age_s))
        return sorted(found, key=lambda one: one.beat.replica)

    def leave(self, replica: str) -> None:
        """See `Register.leave`."""
        with self._connection.use() as client:
            client.hdel(self._key, replica)


def _beat(text: str) -> Beat:
    stated = json.loads(text)
    pending = {name: Waits(**_known(Waits, said)) for name, said in stated["pending"].items()}
    return Beat(**{**_known(Beat, stated), "pending": pending})


def _known(kind: type[Beat] | type[Waits], stated: dict[str, Any]) -> dict[str, Any]:
    """The fields that this version has: during an upgrade another one beats beside it."""
    return {field.name: stated[field.name] for field in fields(kind) if field.name in stated}
