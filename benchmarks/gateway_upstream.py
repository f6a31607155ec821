"""A model server that answers at once: what a gateway costs is then all that is seen.

Speaks as much of vLLM's API as the gateways under test ask for, over a bare asyncio protocol, so
that it takes little of the core that it shares with the load. With a pause it sends its tokens one
by one.
Usage: python -m benchmarks.gateway_upstream PORT [PAUSE_S]
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

MODEL = "smol"
_TOKEN = 281  # any ordinary token of the vocabulary
_WORD = " the"


def _head(kind: str, length: int | None) -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{size}\r\n\r\n".encode()


def _whole(value: Any) -> bytes:
    body = json.dumps(value).encode()
    return _head("application/json", len(body)) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(value: Any) -> bytes:
    return _chunk(b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n")


_END = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _text_event(model: str, last: bool) -> bytes:
    choice = {
        "index": 0,
        "text": _WORD,
        "token_ids": [_TOKEN],
        "logprobs": None,
        "finish_reason": "length" if last else None,
    }
    return _event({"id": "c", "object": "text_completion", "model": model, "choices": [choice]})


def _chat_event(model: str, last: bool) -> bytes:
    choice = {
        "index": 0,
        "delta": {"role": "assistant", "content": _WORD},
        "finish_reason": "length" if last else None,
    }
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
    return _event({**head, "choices": [choice]})


def _chat(model: str, tokens: int) -> bytes:
    message = {"role": "assistant", "content": _WORD * tokens}
    usage = {"prompt_tokens": 40, "completion_tokens": tokens, "total_tokens": 40 + tokens}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": model}
    return _whole({**head, "choices": [choice], "usage": usage})


class Connection(asyncio.Protocol):
    """One client's connection: requests one after the other."""

    pause_s = 0.0

    def __init__(self) -> None:
        self._read = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            lines = self._read[:end].decode("latin-1").split("\r\n")
            length = next(
                (int(x.split(":")[1]) for x in lines if x.lower().startswith("content-length:")), 0
            )
            if len(self._read) < end + 4 + length:
                return
            body = self._read[end + 4 : end + 4 + length]
            self._read = self._read[end + 4 + length :]
            self._answer(lines[0].split(" ")[1], body)

    def _answer(self, path: str, body: bytes) -> None:
        if path.startswith("/v1/models"):
            card = {"id": MODEL, "object": "model", "parent": None, "max_model_len": 4096}
            self._transport.write(_whole({"object": "list", "data": [card]}))
        elif path.endswith("/completions"):
            self._complete(json.loads(body), chat=path.endswith("/chat/completions"))
        elif path in {"/health", "/"}:
            self._transport.write(_whole({}))
        else:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    def _complete(self, asked: dict[str, Any], *, chat: bool) -> None:
        tokens, model = int(asked["max_tokens"]), str(asked["model"])
        if not asked.get("stream"):
            self._transport.write(_chat(model, tokens))
            return
        event = _chat_event if chat else _text_event
        events = [event(model, last=at == tokens - 1) for at in range(tokens)]
        head = _head("text/event-stream", None)
        if not self.pause_s:
            self._transport.write(head + b"".join(events) + _END)
            return
        task = asyncio.create_task(self._slowly(head, events))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _slowly(self, head: bytes, events: list[bytes]) -> None:
        self._transport.write(head)
        for event in events:
            self._transport.write(event)
            await asyncio.sleep(self.pause_s)
        self._transport.write(_END)


async def main(port: int, pause_s: float) -> None:
    Connection.pause_s = pause_s
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=8192)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
