"""From the engine thread to the event loop: one wake-up a step, however many rows it served."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gateway.engine.base import Delta
from gateway.engine.stream import DeltaStream
from gateway.errors import GatewayError


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
