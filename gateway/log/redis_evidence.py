"""The guards' pooled evidence in Redis: a hash for each version of a route, with an expiry.

See `EvidenceStore`. All keys share the log's hash tag, so a Cluster keeps them in one slot.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.log.location import RedisLocation
from gateway.log.redis_client import RedisConnection

LIFE_S = 7 * 86400.0  # without a write for so long, a version's evidence is forgotten
_TIMEOUT_S = 1.0
_FORM = "1"  # of what is written; another form has other keys

# KEYS: hashes. Answers turn and text for each, empty where there is none.
_READ = """
local found = {}
for i = 1, #KEYS do
  local said = redis.call('HMGET', KEYS[i], 'turn', 'state')
  found[2 * i - 1], found[2 * i] = said[1] or '', said[2] or ''
end
return found
"""

# KEYS: hashes. ARGV: life in milliseconds, then the turn expected and the text for each.
# Answers 1 for each that was set.
_WRITE = """
local done = {}
for i = 1, #KEYS do
  local turn = ARGV[2 * i]
  done[i] = 0
  if (redis.call('HGET', KEYS[i], 'turn') or '0') == turn then
    local after = string.format('%.0f', tonumber(turn) + 1)
    redis.call('HSET', KEYS[i], 'turn', after, 'state', ARGV[2 * i + 1])
    redis.call('PEXPIRE', KEYS[i], ARGV[1])
    done[i] = 1
  end
end
return done
"""


class RedisEvidence:
    """See `EvidenceStore`."""

    def __init__(self, location: RedisLocation) -> None:
        self._prefix = f"{{{location.namespace}}}:guard{_FORM}:"
        self._connection = RedisConnection(location, timeout_s=_TIMEOUT_S)

    def read(self, keys: Sequence[str]) -> list[tuple[int, str | None]]:
        """See `EvidenceStore.read`."""
        with self._connection.use() as client:
            said = client.eval(_READ, len(keys), *self._named(keys))
        return [
            (int(turn or 0), text or None) for turn, text in zip(said[::2], said[1::2], strict=True)
        ]

    def write(self, changes: Sequence[tuple[str, int, str]]) -> list[bool]:
        """See `EvidenceStore.write`."""
        arguments = [str(int(LIFE_S * 1e3))]
        for _, turn, text in changes:
            arguments += [str(turn), text]
        keys = self._named([key for key, _, _ in changes])
        with self._connection.use() as client:
            done = client.eval(_WRITE, len(keys), *keys, *arguments)
        return [bool(one) for one in done]

    def _named(self, keys: Sequence[str]) -> list[str]:
        return [self._prefix + key for key in keys]
