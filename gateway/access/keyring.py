"""The live keys, ready to be looked up: an immutable value made from the log's state.

A check is one hash and one dictionary look-up; a new key ring is swapped in whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.access.secret import digest_of
from gateway.access.values import ClientGrant, Key, KeyRecord, OperatorGrant


@dataclass(frozen=True, slots=True)
class Client:
    """A client key."""

    key: Key
    grant: ClientGrant

    def may_use(self, workflow: str) -> bool:
        """Whether the key allows `workflow`."""
        return any(matches(pattern, workflow) for pattern in self.grant.workflows)


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator key."""

    key: Key
    grant: OperatorGrant


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All live keys by the digest of their text.

    `clients_known` and `operators_known` say whether a key of that kind was ever made: from then
    on one is asked for, and revoking the last one does not open the door again.
    """

    holders: Mapping[str, Client | Operator] = field(default_factory=dict)
    clients_known: bool = False
    operators_known: bool = False

    @classmethod
    def of(cls, records: Mapping[str, KeyRecord]) -> KeyRing:
        """The ring of what the log says."""
        holders: dict[str, Client | Operator] = {}
        for record in records.values():
            key = record.key
            if record.revoked is None:
                if isinstance(key.grant, ClientGrant):
                    holders[key.digest] = Client(key, key.grant)
                else:
                    holders[key.digest] = Operator(key, key.grant)
        kinds = {record.key.grant.kind for record in records.values()}
        return cls(holders, "client" in kinds, "operator" in kinds)

    def find(self, text: str) -> Client | Operator | None:
        """Who holds the key with this text, or None."""
        return self.holders.get(digest_of(text))


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, where each `*` stands for any text. One pass, no backtracking:
    what lies between two stars may be taken where it is first found."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - len(last) >= at and text.endswith(last)
