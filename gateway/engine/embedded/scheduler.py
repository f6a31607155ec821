"""Which rows run and what the next step computes. Pure bookkeeping: no tensors, no threads.

Continuous batching: rows join when a cache row and their adapter's slot are there, and leave the
moment they end. Chunked prefill (Agrawal and others, Sarathi-Serve, 2024): a step carries every
decoding row's token and at most a budget of prompt tokens, so long prompts do not stall the rest.

Background rows are in a step only where no live row is: each row of a step makes it longer. While
live rows run they are paused and keep their place; where a live row waits for a place (a cache row,
or a slot for its adapter) they give theirs up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway.engine.embedded.options import EngineOptions
from gateway.engine.embedded.rows import Chunk, Row, Step

# Of a row, and whether one of the free places would be its own.
Admit = Callable[[Row, bool], bool]


class Scheduler:
    """Waiting and running rows, in order of arrival. Owned by the engine thread."""

    def __init__(self, options: EngineOptions) -> None:
        self.waiting: deque[Row] = deque()
        self.running: list[Row] = []
        self.background_waiting: deque[Row] = deque()
        self.background: list[Row] = []  # with a place, running or paused
        self._options = options

    @property
    def rows(self) -> list[Row]:
        """Every row there is."""
        return [*self.running, *self.background, *self.waiting, *self.background_waiting]

    @property
    def has_work(self) -> bool:
        """Whether a step would compute anything."""
        return bool(self.running or self.background)

    def add(self, row: Row) -> None:
        (self.background_waiting if row.is_background else self.waiting).append(row)

    def admit(self, free_rows: int, try_admit: Admit) -> None:
        """Move waiting rows to running, oldest first, while cache rows are free; background rows
        only while no live row is there.

        `try_admit` takes the row's adapter slot and cache row and says whether it could. A row
        whose adapter is still loading keeps its place in the queue and lets later rows pass; as
        many such rows as places are free have a place but for that.
        """
        self.waiting, admitted = _admitted(self.waiting, free_rows, try_admit)
        self.running += admitted
        if self.running or self.waiting:
            return
        free_rows = min(free_rows, self._options.background_rows - len(self.background))
        self.background_waiting, admitted = _admitted(self.background_waiting, free_rows, try_admit)
        self.background += admitted

    def in_the_way(self, free_rows: int) -> list[Row]:
        """The background rows that hold what a waiting live row needs: a slot, where it waits for
        its adapter; a cache row, where none is free. The newest ones of no more than are needed."""
        if not self.waiting:
            return []
        needed = len(self.waiting) if free_rows == 0 else 0
        first = max(0, len(self.background) - needed)
        return [
            row for at, row in enumerate(self.background) if at >= first or row.slot is not None
        ]

    def preempt(self, row: Row) -> None:
        """Have a background row wait again, before those that never ran. Its owner gives back what
        it held before."""
        self.background.remove(row)
        row.preempt()
        self.background_waiting.appendleft(row)

    def drop(self, row: Row) -> None:
        """Forget a row that ended, wherever it is."""
        if row.is_background:
            (self.background if row.kv_row >= 0 else self.background_waiting).remove(row)
        else:
            (self.running if row.kv_row >= 0 else self.waiting).remove(row)

    def next_step(self) -> Step:
        """Every decoding row, and prompt chunks oldest first within the budget."""
        rows, options = self.running or self.background, self._options
        decode = tuple(row for row in rows if not row.is_prefilling)
        if not self.running:
            budget = options.background_prefill_tokens
        else:
            budget = options.prefill_tokens if decode else options.idle_prefill_tokens
        chunks: list[Chunk] = []
        for row in rows:
            if budget <= 0:
                break
            if row.is_prefilling:
                count = min(budget, row.to_prefill)
                chunks.append(Chunk(row, count))
                budget -= count
        return Step(decode, tuple(chunks))


def _admitted(
    waiting: deque[Row], free_rows: int, try_admit: Admit
) -> tuple[deque[Row], list[Row]]:
    """Those that still wait, and those that were let in."""
    if free_rows <= 0 or not waiting:
        return waiting, []
    still: deque[Row] = deque()
    admitted: list[Row] = []
    for row in waiting:
        has_place = len(admitted) + len(still) < free_rows
        if len(admitted) < free_rows and try_admit(row, has_place):
            admitted.append(row)
        else:
            still.append(row)
    return still, admitted
