"""The `TokenStream` that engines fill: one reader, on its own event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import cast

from gateway.engine.base import Delta, FinishReason
from gateway.errors import GatewayError


class DeltaStream:
    """The `TokenStream` of one request. Filled on its loop by `deliver`, read by its one consumer.

    Bounded by the request itself: at most one delta a token and one end a choice. What has piled up
    for the reader comes as one delta: a busy loop and a slow client cost less, not more.
    """

    def __init__(self, choices: int, on_cancel: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self._waiting: deque[Delta | GatewayError] = deque()
        self._arrived = asyncio.Event()
        self._open = choices
        self._on_cancel = on_cancel

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas()

    async def _deltas(self) -> AsyncIterator[Delta]:
        while self._open:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            item = self._waiting.popleft()
            if isinstance(item, GatewayError):
                self._open = 0
                raise item
            parts = [item]
            while self._goes_on(parts[-1]):
                parts.append(cast(Delta, self._waiting.popleft()))
            if len(parts) > 1:
                item = _joined(parts)
            if item.finish is not None:
                self._open -= 1
            yield item

    def _goes_on(self, delta: Delta) -> bool:
        """Whether what waits next is the same continuation's next piece. That it was cancelled is
        told apart from what came before."""
        following = self._waiting[0] if self._waiting else None
        return (
            isinstance(following, Delta)
            and delta.finish is None
            and following.index == delta.index
            and following.prompt_logprobs is None
            and following.finish is not FinishReason.CANCELLED
        )

    def cancel(self) -> None:
        self._on_cancel()

    def deliver(self, item: Delta | GatewayError) -> None:
        """Called on the loop alone."""
        self._waiting.append(item)
        self._arrived.set()


def _joined(parts: Sequence[Delta]) -> Delta:
    return replace(
        parts[0],
        text="".join(part.text for part in parts),
        token_ids=tuple(chain.from_iterable(part.token_ids for part in parts)),
        logprobs=tuple(chain.from_iterable(part.logprobs for part in parts)),
        finish=parts[-1].finish,
    )
