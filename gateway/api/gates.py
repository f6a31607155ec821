"""The doors of both ports: who asks is settled before a body is read.

`ClientGate` also holds a request's place in its key's limits until its answer has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request

from gateway.api import errors
from gateway.api.callers import ANYBODY, Caller, LiveKeys, bearer_token, client_of, operator_of
from gateway.errors import GatewayError
from gateway.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_METRICS = "/metrics"
_API = "/v1/"


def needs_key(path: str) -> bool:
    """Whether the inference API asks for a key there."""
    return path.startswith(_API) or path == _METRICS


class ClientGate:
    """In front of the inference API: keys on `/v1/…`, an operator's key on `/metrics`. Health is
    open to everybody."""

    def __init__(self, app: Any, keys: LiveKeys, metrics: Metrics, required: bool) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not needs_key(path):
            await self._app(scope, receive, send)
            return
        usage = None
        try:
            token = bearer_token(scope["headers"])
            if path == _METRICS:
                operator_of(self._keys, token, required=False)
            else:
                caller = client_of(self._keys, token, required=self._required)
                if scope["method"] == "POST" and caller.usage is not None:
                    caller.usage.begin()
                    usage = caller.usage
                scope.setdefault("state", {})["caller"] = caller
        except GatewayError as error:
            self._metrics.refuse(error)
            await errors.respond(error)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            if usage is not None:
                usage.end()


def caller_of(request: Request) -> Caller:
    """Who the gate let in."""
    caller: Caller = getattr(request.state, "caller", ANYBODY)
    return caller
