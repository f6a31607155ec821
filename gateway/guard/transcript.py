"""What one request has said, kept for the guard while it runs. Belongs to its request."""

from __future__ import annotations

from gateway.engine.base import Delta
from gateway.guard.detectors import Answered


class Transcript:
    """The texts of a request's `choices`, and when their tokens came. Times are of one monotonic
    clock, in seconds."""

    __slots__ = ("_arrived", "_finishes", "_first", "_ids", "_last", "_texts", "_tokens")

    def __init__(self, choices: int, arrived: float) -> None:
        self._ids: list[int] = []  # of the first choice
        self._texts: list[list[str]] = [[] for _ in range(choices)]
        self._finishes: list[str | None] = [None] * choices
        self._arrived = arrived
        self._first: float | None = None
        self._last = arrived
        self._tokens = 0

    def add(self, delta: Delta, at: float) -> None:
        """Note a delta that came at `at`."""
        if delta.token_ids:
            if self._first is None:
                self._first = at
            self._last = at
            self._tokens += len(delta.token_ids)
            if delta.index == 0:
                self._ids += delta.token_ids
        self._texts[delta.index].append(delta.text)
        if delta.finish is not None:
            self._finishes[delta.index] = delta.finish.value

    @property
    def first_tokens(self) -> tuple[int, ...]:
        """The tokens of the first choice."""
        return tuple(self._ids)

    def answered(self, outcome: str) -> list[Answered]:
        """One value for each whole choice; one for all where the request did not end well."""
        first, between = None, None
        if self._first is not None:
            first = self._first - self._arrived
            steps = self._tokens / len(self._texts) - 1
            between = (self._last - self._first) / steps if steps > 0 else None
        if outcome != "ok":
            return [Answered("", outcome, None, first, between)]
        return [
            Answered("".join(parts), outcome, finish, first, between)
            for parts, finish in zip(self._texts, self._finishes, strict=True)
        ]
