"""A TCP proxy for tests: between two processes, and cut where a test says."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Literal

_CHUNK = 1 << 16


@dataclass
class _Cut:
    what: bytes
    where: Literal["request", "answer"]


class TcpProxy:
    """Passes bytes between its own port and `to_port`, on the event loop it was started on."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._away = False
        self._next: _Cut | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.port = 0
        self.cuts = 0  # made by `cut_at`

    async def start(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def close(self) -> None:
        self.cut()
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection, and each new one at once, until `mend`."""
        self._away = True
        self._end_all()

    def mend(self) -> None:
        self._away = False

    def cut_at(self, what: bytes, where: Literal["request", "answer"]) -> None:
        """Once, end all connections halfway through the next request that holds `what`, or in
        place of its answer. New connections are let through."""
        self._next = _Cut(what, where)

    def _end_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._away:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        swallowing = asyncio.Event()
        both = [
            asyncio.create_task(self._requests(reader, back, swallowing)),
            asyncio.create_task(self._answers(there, writer, swallowing)),
        ]
        self._tasks.update(both)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        self._tasks.difference_update(both)
        for end in (writer, back):
            self._open.discard(end)
            end.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallowing: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                cut = self._next
                if cut is not None and cut.what in data:
                    self._next = None
                    if cut.where == "request":
                        writer.write(data[: len(data) // 2])
                        await writer.drain()
                        self.cuts += 1
                        self._end_all()
                        return
                    swallowing.set()
                writer.write(data)
                await writer.drain()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallowing: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if swallowing.is_set():
                    self.cuts += 1
                    self._end_all()
                    return
                writer.write(data)
                await writer.drain()
