"""Which rows run and what the next step computes. Pure bookkeeping: no tensors, no threads.

Continuous batching: rows join when a cache row and their adapter's slot are there, and leave the
moment they end. Chunked prefill (Agrawal and others, Sarathi-Serve, 2024): a step carries every
decoding row's token and at most a budget of prompt tokens, so long prompts do not stall the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway.engine.embedded.rows import Chunk, Row, Step

Admit = Callable[[Row], bool]


class Scheduler:
    """Waiting and running rows, in order of arrival. Owned by the engine thread."""

    def __init__(self, *, prefill_tokens: int, idle_prefill_tokens: int) -> None:
        self.waiting: deque[Row] = deque()
        self.running: list[Row] = []
        self._prefill_tokens = prefill_tokens
        self._idle_prefill_tokens = idle_prefill_tokens

    def add(self, row: Row) -> None:
        self.waiting.append(row)

    def admit(self, free_rows: int, try_admit: Admit) -> None:
        """Move waiting rows to running, oldest first, while cache rows are free.

        `try_admit` takes the row's adapter slot and cache row and says whether it could. A row
        whose adapter is still loading keeps its place and lets later rows pass.
        """
        if not free_rows or not self.waiting:
            return
        still: deque[Row] = deque()
        while self.waiting:
            row = self.waiting.popleft()
            if free_rows and try_admit(row):
                self.running.append(row)
                free_rows -= 1
            else:
                still.append(row)
        self.waiting = still

    def drop(self, row: Row) -> None:
        """Forget a row that ended, wherever it is."""
        if row.kv_row >= 0:
            self.running.remove(row)
        else:
            self.waiting.remove(row)

    def next_step(self) -> Step:
        """Every decoding row, and prompt chunks oldest first within the budget."""
        decode = tuple(row for row in self.running if not row.is_prefilling)
        budget = self._prefill_tokens if decode else self._idle_prefill_tokens
        chunks: list[Chunk] = []
        for row in self.running:
            if budget <= 0:
                break
            if row.is_prefilling:
                count = min(budget, row.to_prefill)
                chunks.append(Chunk(row, count))
                budget -= count
        return Step(decode, tuple(chunks))
