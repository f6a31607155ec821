"""A request's body, whole before anything else sees it: within a size and within a time.

Read here and not in the app, so that what is too large or too slow has its own answer, and a
refused body is never parsed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.api import errors
from gateway.api.gates import Receive, Scope, Send
from gateway.api.limits import BodyLimits
from gateway.errors import GatewayError, RequestTooLarge, RequestTooSlow


class WholeBody:
    """Hands a body on in one piece. 413 and 408 where it is over the limits."""

    def __init__(self, app: Any, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            length = dict(scope["headers"]).get(b"content-length", b"0")
            if length.isdigit() and int(length) > self._limits.size_bytes:
                raise self._too_large()
            body = await self._read(receive)
        except GatewayError as error:
            await errors.respond(error)(scope, receive, send)
            return
        if body is None:
            return  # the client left before it had asked anything
        handed = False

        async def whole() -> Any:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or None where the client went away. Raises RequestTooLarge, RequestTooSlow."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    if size > self._limits.size_bytes:
                        raise self._too_large()
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise RequestTooSlow(
                f"the request's body did not arrive within {self._limits.seconds:g} s; send faster"
            ) from None

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(
            f"the body is over the limit of {self._limits.size_bytes} bytes; send less"
        )
