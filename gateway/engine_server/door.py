"""Who may ask an engine server: whoever shows its key. Health and metrics are open."""

from __future__ import annotations

import hmac
from typing import Any

from gateway.api import errors
from gateway.api.callers import bearer_token
from gateway.api.gates import Receive, Scope, Send
from gateway.errors import NoValidKey

_OPEN = frozenset({"/health", "/metrics"})


class KeyDoor:
    """In front of everything else: a body without the key is not read."""

    def __init__(self, app: Any, key: str) -> None:
        """`key` empty: anybody (for loopback)."""
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._key and scope["path"] not in _OPEN:
            shown = (bearer_token(scope["headers"]) or "").encode()
            if not hmac.compare_digest(shown, self._key):
                refusal = NoValidKey(
                    "the engine's key is missing or wrong; set the gateways' server_key to it"
                )
                await errors.respond(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)
