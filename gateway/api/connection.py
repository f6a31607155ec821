"""A connection's own limits, in front of the app: how large a request's head may be, and how long
a client may take to send it.

A client that opens connections and sends nothing, or a byte now and then, would otherwise hold
them for ever and fill the memory with headers that never end. Bodies are `bodies.py`'s.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.limits import ConnectionLimits

_SEPARATORS = 4  # bytes around a header: colon, space, line end


class GuardedConnection(HttpToolsProtocol):
    """See the module. Use the subclass that `guarded` makes."""

    limits: ConnectionLimits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._pending_bytes = 0  # since the last whole head or body
        self._in_body = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came: the clock runs."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head or a body. The parser keeps a head's bytes until a header is whole, so
        they are counted here as well as when it is."""
        if self._refused:
            return
        if not self._in_body:
            self._pending_bytes += len(data)
            if self._timer is None:
                self._start_timer()
        super().data_received(data)
        if not self._in_body and self._pending_bytes > self.limits.head_bytes:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """The head is whole: the app starts, unless it is too large."""
        self._stop_timer()
        self._pending_bytes = 0
        self._in_body = True
        size = len(self.url) + sum(len(n) + len(v) + _SEPARATORS for n, v in self.headers)
        if size > self.limits.head_bytes:
            self._refuse_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        self._pending_bytes = 0
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer was sent. If its request is not whole, it was refused early, and the client
        may not go on sending for ever."""
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._start_timer()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "bad_request", "this is no valid HTTP request")

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.limits.head_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            return  # stray bytes after a request whose answer is under way
        if self._in_body:
            self.transport.close()  # answered already
            return
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT,
            "request_too_slow",
            f"the request's headers did not arrive within {self.limits.head_s:g} s; send faster",
        )

    def _refuse_head(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            f"the request line and headers are over the limit of {self.limits.head_bytes} bytes; "
            "send less",
        )

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        """Answer without the app, and close."""
        self._refused = True
        self._stop_timer()
        if self.transport.is_closing():
            return
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def guarded(limits: ConnectionLimits) -> type[GuardedConnection]:
    """The protocol class for a server with these limits."""
    return type("Guarded", (GuardedConnection,), {"limits": limits})
