"""Who asks: the key check in front of everything else, before a body is read.

The key ring is taken from the control plane's state whenever that has another set of keys, so a
key is live, or dead, from the very request after its event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.access.keyring import Client, KeyRing, Operator
from gateway.access.usage import Usage, UsageBook
from gateway.access.values import KeyRecord
from gateway.control.plane import ControlPlane
from gateway.errors import KeyNotAllowed, LogUnavailable, NoValidKey


class LiveKeys:
    """The key ring in force and what its keys have used. For one event loop."""

    def __init__(self, plane: ControlPlane, usage: UsageBook | None = None) -> None:
        self._plane = plane
        self._records: Mapping[str, KeyRecord] = {}
        self._ring = KeyRing()
        self.usage = UsageBook() if usage is None else usage

    @property
    def ring(self) -> KeyRing:
        """The keys of the state in force. The fold never changes a mapping in place, so that the
        same mapping means the same keys."""
        records = self._plane.state.keys
        if records is not self._records:
            self._ring = KeyRing.of(records)
            self._records = records
            self.usage.forget_all_but({h.key.id for h in self._ring.holders.values()})
        return self._ring

    def require_known(self) -> None:
        """Raises LogUnavailable where this gateway never had its log: who holds a key is not known
        then, and a door without a known key would stand open."""
        if self._plane.not_ready is not None:
            raise LogUnavailable("the gateway is not ready yet; its readiness says why; ask again")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent an inference request: a key's holder, or anybody where the door is open."""

    usage: Usage | None = None

    @property
    def key_name(self) -> str | None:
        return None if self.usage is None else self.usage.client.key.name

    def may_use(self, workflow: str) -> bool:
        """Whether the workflow exists for this caller."""
        return self.usage is None or self.usage.client.may_use(workflow)

    def admit(self, prompt_tokens: int) -> None:
        """See `Usage.admit`."""
        if self.usage is not None:
            self.usage.admit(prompt_tokens)

    def spend(self, tokens: int) -> None:
        """See `Usage.spend`."""
        if self.usage is not None:
            self.usage.spend(tokens)


ANYBODY = Caller()


def client_of(keys: LiveKeys, token: str | None, *, required: bool) -> Caller:
    """Who sends an inference request with this bearer token. Raises NoValidKey, KeyNotAllowed,
    LogUnavailable.

    Where no client key was ever made and none is `required`, any token passes: SDKs always send
    one.
    """
    keys.require_known()
    ring = keys.ring
    if not (required or ring.clients_known):
        return ANYBODY
    holder = _holder(ring, token)
    if isinstance(holder, Operator):
        raise KeyNotAllowed(
            f"key {holder.key.name} is an operator key; inference needs a client key",
            code="wrong_key_kind",
        )
    return Caller(keys.usage.of(holder))


def operator_of(keys: LiveKeys, token: str | None, *, required: bool) -> Operator | None:
    """Who speaks to the admin API with this bearer token; None where no operator key was ever
    made, none is `required` and none is shown. Raises NoValidKey, KeyNotAllowed, LogUnavailable."""
    ring = keys.ring
    if token is None and not (required or ring.operators_known):
        return None
    if token is not None and ring.find(token) is None:
        keys.require_known()
    holder = _holder(ring, token)
    if isinstance(holder, Client):
        raise KeyNotAllowed(
            f"key {holder.key.name} is a client key; this needs an operator key",
            code="wrong_key_kind",
        )
    return holder


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token of `Authorization: Bearer`, or None; a client that was given no key may send an
    empty one. Raises NoValidKey for another scheme."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.strip().lower() == "bearer":
                return token.strip() or None
            raise NoValidKey("write the header as Authorization: Bearer KEY")
    return None


def _holder(ring: KeyRing, token: str | None) -> Client | Operator:
    if token is None:
        raise NoValidKey(
            "a key is needed: send the header Authorization: Bearer KEY (an operator makes keys "
            "with `gateway keys create`)",
            code="missing_api_key",
        )
    holder = ring.find(token)
    if holder is None:
        raise NoValidKey("this key is unknown or was revoked; ask an operator for a new one")
    return holder
