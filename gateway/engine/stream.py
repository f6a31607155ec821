"""The `TokenStream` that engines fill: one reader, on its own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from gateway.engine.base import Delta
from gateway.errors import GatewayError


class DeltaStream:
    """The `TokenStream` of one request. Filled on its loop by `deliver`, read by its one consumer.

    Bounded by the request itself: at most one delta a token and one end a choice.
    """

    def __init__(self, choices: int, on_cancel: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Delta | GatewayError] = asyncio.Queue()
        self._open = choices
        self._on_cancel = on_cancel

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas()

    async def _deltas(self) -> AsyncIterator[Delta]:
        while self._open:
            item = await self._queue.get()
            if isinstance(item, GatewayError):
                self._open = 0
                raise item
            if item.finish is not None:
                self._open -= 1
            yield item

    def cancel(self) -> None:
        self._on_cancel()

    def deliver(self, item: Delta | GatewayError) -> None:
        """Called on the loop alone."""
        self._queue.put_nowait(item)
