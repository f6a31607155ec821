"""One answer over HTTP: its head goes out with the first delta, so that what fails before has a
status of its own; what fails later is an event of the stream, and no `[DONE]` follows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response

from gateway.api import errors
from gateway.api.gates import Receive, Scope, Send
from gateway.engine.base import Delta, FinishReason, TokenStream
from gateway.engine_server.events import DONE, data
from gateway.errors import EngineFault, EngineUnavailable, GatewayError

_HEAD = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


class StreamedAnswer(Response):
    """The generation ends with its client: whoever leaves frees the rows."""

    def __init__(
        self,
        stream: TokenStream,
        shown: Callable[[Delta], bytes],
        explained: Callable[[GatewayError], GatewayError],
    ) -> None:
        """`shown` makes a delta's event; `explained` is told of a failure before the first one,
        and gives what is to be answered."""
        self.background = None
        self._stream = stream
        self._shown = shown
        self._explained = explained

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_until_gone(receive))
        gone.add_done_callback(lambda _: self._stream.cancel())
        begun = False
        try:
            async for delta in self._stream:
                if delta.finish is FinishReason.CANCELLED:
                    if gone.done():
                        return  # nobody is there to read it
                    if begun:
                        raise EngineFault("this server stopped before the answer's end")
                    raise EngineUnavailable("this server is stopping; ask another")
                if not begun:
                    begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
                await _send(send, self._shown(delta), more=True)
            await _send(send, DONE, more=False)
        except GatewayError as error:
            if not begun:
                await errors.respond(self._explained(error))(scope, receive, send)
                return
            said = errors.error_object(error)
            said["error"]["code"] = errors.status_of(error)[0]  # as vLLM has it: a number
            await _send(send, data(said), more=False)
        finally:
            gone.cancel()


async def _send(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
