"""From the engine thread to the event loop: one wake-up a step, however many rows it served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Outbox:
    """What one step has to say, by event loop. Owned by the engine thread."""

    _by_loop: dict[asyncio.AbstractEventLoop, list[tuple[DeltaStream, Delta | GatewayError]]] = (
        field(default_factory=dict)
    )

    def put(self, stream: DeltaStream, item: Delta | GatewayError) -> None:
        self._by_loop.setdefault(stream.loop, []).append((stream, item))

    def flush(self) -> None:
        """Hand everything to its loop. A loop that is closed has nobody left to tell."""
        for loop, items in self._by_loop.items():
            try:
                loop.call_soon_threadsafe(_deliver_all, items)
            except RuntimeError:
                if not loop.is_closed():
                    raise
        self._by_loop.clear()


def _deliver_all(items: list[tuple[DeltaStream, Delta | GatewayError]]) -> None:
    for stream, item in items:
        stream.deliver(item)
