"""Who gives orders: the key check of the admin API, and the roles that its commands need.

Until the first operator key is made, whoever reaches loopback may give orders, and says who they
are; from then on a key says it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from gateway.access.keyring import KeyRing, Operator
from gateway.access.values import KEY_ACTOR, Role
from gateway.api import errors
from gateway.api.callers import LiveKeys, bearer_token, operator_of
from gateway.api.gates import Receive, Scope, Send
from gateway.api.orders import Order
from gateway.console.pages import is_console
from gateway.control import retreat
from gateway.control.values import Command
from gateway.errors import BadInput, GatewayError, KeyNotAllowed

_LOCAL_NAMES = {"127.0.0.1", "localhost", "[::1]", "::1"}
_OWN_ACTORS = {"file", "guard", retreat.ACTOR}  # what the gateway calls itself in events


def is_loopback(host: str) -> bool:
    """Whether an address to listen on reaches no further than this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_admin_address(host: str, ring: KeyRing, state: str) -> None:
    """Raises BadInput where the admin API would listen beyond this machine and nobody could hold
    a key to it."""
    if is_loopback(host) or any(isinstance(h, Operator) for h in ring.holders.values()):
        return
    raise BadInput(
        f"admin_host {host} can be reached from other machines, and there is no operator key to "
        "ask for: make one with `gateway keys create NAME --role approver --offline "
        f"--state {state}`, or set admin_host to 127.0.0.1",
        param="admin_host",
    )


@dataclass(frozen=True, slots=True)
class Orderer:
    """Who sent an admin request: an operator key's holder, or anybody on the open loopback."""

    operator: Operator | None
    address: str

    def still_let_in(self, keys: LiveKeys) -> bool:
        """Whether a new request of the same sender would be let in; for answers without an end."""
        if self.operator is None:
            return not keys.ring.operators_known
        return self.operator.key.digest in keys.ring.holders

    def require(self, role: Role) -> None:
        """Raises KeyNotAllowed where the key's role is not enough."""
        if self.operator is not None and not self.operator.grant.role.covers(role):
            raise KeyNotAllowed(
                f"key {self.operator.key.name} is a {self.operator.grant.role}; this needs "
                f"{'an' if role is not Role.VIEWER else 'a'} {role}",
                code="role_too_low",
            )

    def command(self, order: Order) -> Command:
        """The order, signed: with the key where there is one, whatever the body says.

        Raises BadInput where a body without a key claims a name that is not a person's.
        """
        actor = order.actor
        if self.operator is not None:
            actor = self.operator.key.actor
        elif actor.startswith(KEY_ACTOR) or actor in _OWN_ACTORS:
            raise BadInput(f"actor {actor!r} is kept for the gateway's own use", param="actor")
        return Command(actor, order.reason, order.expected_revision, self.address)


def needs(role: Role) -> Callable[[Request], Orderer]:
    """A dependency: the orderer, if the role suffices."""

    def orderer(request: Request) -> Orderer:
        found: Orderer = request.state.orderer
        found.require(role)
        return found

    return orderer


Operating = Annotated[Orderer, Depends(needs(Role.OPERATOR))]
Approving = Annotated[Orderer, Depends(needs(Role.APPROVER))]


class AdminGate:
    """In front of the admin API: an operator key of any role, or the open loopback.

    Without a key, hosts and origins that are not this machine's are refused: a page in the
    operator's browser can reach loopback, and must not be able to give orders. With a key there
    is nothing to forge: a page cannot have it. The console's own files are open to all.
    """

    def __init__(self, app: Any, keys: LiveKeys, required: bool) -> None:
        self._app = app
        self._keys = keys
        self._required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_console(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            token = bearer_token(scope["headers"])
            operator = operator_of(self._keys, token, required=self._required)
            if operator is None:
                _refuse_foreign(scope)
        except GatewayError as error:
            await errors.respond(error)(scope, receive, send)
            return
        client = scope.get("client")
        orderer = Orderer(operator, client[0] if client else "")
        scope.setdefault("state", {})["orderer"] = orderer
        await self._app(scope, receive, send)


def _refuse_foreign(scope: Scope) -> None:
    headers = dict(scope["headers"])
    said = headers.get(b"host", b"").decode("latin-1")
    host = said.rsplit(":", 1)[0]
    bound = (scope.get("server") or ("",))[0]
    origin = headers.get(b"origin")
    foreign = origin is not None and origin.decode("latin-1").split("://")[-1] != said
    if foreign or host not in _LOCAL_NAMES | {bound}:
        raise KeyNotAllowed("this host or origin is not served", code="foreign_origin")
