"""What may be asked about keys, decided on the state alone: a change, or the reason why not."""

from __future__ import annotations

from gateway.access.values import Key, KeyRecord, check_key
from gateway.errors import NotAllowed, NotFound
from gateway.nearest import nearest
from gateway.routing.events import KeyCreated, KeyRevoked
from gateway.routing.fold import RoutingState


def create(state: RoutingState, key: Key) -> KeyCreated:
    """Let a key in. Raises NotAllowed where its name was used before: a name in the audit means
    one key for ever. Raises BadInput as `check_key`."""
    check_key(key)
    for record in state.keys.values():
        if record.key.name == key.name:
            known = "was revoked" if record.revoked else "is in use"
            raise NotAllowed(
                f"the key name {key.name} {known} (key {record.key.id}, revision "
                f"{record.created.revision}); names are never used twice, choose another"
            )
    if key.id in state.keys:
        raise NotAllowed(f"there is a key {key.id} already; create the key again")
    return KeyCreated(key)


def revoke(state: RoutingState, name_or_id: str) -> KeyRevoked:
    """Take a key out of use for good. Raises NotFound, and NotAllowed where it is already."""
    record = find(state, name_or_id)
    if record.revoked is not None:
        by = record.revoked
        raise NotAllowed(
            f"key {record.key.name} is revoked already, by {by.actor} at revision {by.revision}"
        )
    return KeyRevoked(record.key.id, record.key.name)


def find(state: RoutingState, name_or_id: str) -> KeyRecord:
    """The key of that id or name. Raises NotFound naming the nearest."""
    known = state.keys.get(name_or_id)
    if known is not None:
        return known
    by_name = {record.key.name: record for record in state.keys.values()}
    if name_or_id in by_name:
        return by_name[name_or_id]
    near = nearest(name_or_id, by_name)
    hint = f"; did you mean {near}?" if near else ""
    raise NotFound(f"there is no key {name_or_id!r}{hint}", param="key", nearest=near)
