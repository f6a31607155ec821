"""How far an evaluation is: a bar with rate and time left on a terminal, else a line a suite."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from trainer.evals.values import SuiteResult


class Progress(Protocol):
    """Told by the evaluation what is done. Calls come from its event loop alone."""

    def start(self, asks: int, models: Sequence[str]) -> None:
        """`asks` items are to be asked, over all `models`."""
        ...

    def advance(self, asks: int) -> None: ...

    def suite_done(self, model: str, result: SuiteResult) -> None: ...

    def end(self) -> None:
        """After the last item, or a failure."""
        ...


class NoProgress:
    """Says nothing."""

    def start(self, asks: int, models: Sequence[str]) -> None:
        """See `Progress.start`."""

    def advance(self, asks: int) -> None:
        """See `Progress.advance`."""

    def suite_done(self, model: str, result: SuiteResult) -> None:
        """See `Progress.suite_done`."""

    def end(self) -> None:
        """See `Progress.end`."""


class LineProgress:
    """A line for each suite and model that is done."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._asks = self._done = 0
        self._started = 0.0

    def start(self, asks: int, models: Sequence[str]) -> None:
        """See `Progress.start`."""
        self._asks, self._done, self._started = asks, 0, time.monotonic()

    def advance(self, asks: int) -> None:
        """See `Progress.advance`."""
        self._done += asks

    def suite_done(self, model: str, result: SuiteResult) -> None:
        """See `Progress.suite_done`."""
        rate = self._done / max(1e-9, time.monotonic() - self._started)
        left = (self._asks - self._done) / max(rate, 1e-9)
        scores = ", ".join(f"{m.check} {result.mean(m.check):.3f}" for m in result.measures)
        self._write(
            f"{model}: {result.suite}: {scores} "
            f"({self._done}/{self._asks} items, {rate:.1f} items/s, {left:.0f} s left)"
        )

    def end(self) -> None:
        """See `Progress.end`."""


class BarProgress:
    """One bar for all models, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def start(self, asks: int, models: Sequence[str]) -> None:
        """See `Progress.start`."""
        named = models[0] if len(models) == 1 else f"{len(models)} models"
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._bar.add_task(f"evaluating {named}", total=asks)
        self._bar.start()

    def advance(self, asks: int) -> None:
        """See `Progress.advance`."""
        self._bar.advance(self._bar.task_ids[0], asks)

    def suite_done(self, model: str, result: SuiteResult) -> None:
        """See `Progress.suite_done`."""

    def end(self) -> None:
        """See `Progress.end`."""
        self._bar.stop()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} items/s")


def progress_on(console: Console) -> Progress:
    """A bar where `console` is a terminal, else a line a suite."""
    if console.is_terminal:
        return BarProgress(console)
    return LineProgress(lambda line: console.print(line, soft_wrap=True, highlight=False))
