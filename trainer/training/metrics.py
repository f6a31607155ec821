"""One JSON line a training step, and what of it a person sees while it runs."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from trainer.whole_files import write_text

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One step. Losses and KL in nats per token of their own part; None where it had none."""

    step: int
    loss: float  # what was minimised
    loss_target: float | None
    loss_anchors: float | None
    kl: float | None
    learning_rate: float
    grad_norm: float
    tokens_target: int
    tokens_anchors: int
    tokens: int  # prompts too
    seconds: float

    def line(self, total: int, left_s: float) -> str:
        """The step as one log line."""
        parts = [f"loss {self.loss:.4f}"]
        for name, value in (
            ("target", self.loss_target),
            ("anchors", self.loss_anchors),
            ("kl", self.kl),
        ):
            if value is not None:
                parts.append(f"{name} {value:.4f}")
        rate = self.tokens / self.seconds if self.seconds else 0.0
        return (
            f"step {self.step}/{total}  {'  '.join(parts)}  lr {self.learning_rate:.2e}  "
            f"norm {self.grad_norm:.2f}  {rate:.0f} tokens/s  {_clock(left_s)} left"
        )


class MetricsFile:
    """metrics.jsonl, begun at `start_step`: what a killed run wrote after it is cut off."""

    def __init__(self, path: Path, start_step: int) -> None:
        kept = []
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                try:
                    step = json.loads(line)["step"]
                except (ValueError, KeyError, TypeError):
                    break  # a line cut short by the kill
                if step > start_step:
                    break
                kept.append(line if line.endswith("\n") else f"{line}\n")
        write_text(path, "".join(kept))
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, metrics: StepMetrics) -> None:
        self._file.write(json.dumps(asdict(metrics)) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class ProgressDisplay:
    """A bar with rate and time left on a terminal; elsewhere one log line a step."""

    def __init__(self, total: int, start_step: int) -> None:
        self._total = total
        self._start = start_step
        self._started = time.monotonic()
        self._paused_s = 0.0
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=total, completed=start_step, figures="")

    def __enter__(self) -> ProgressDisplay:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, metrics: StepMetrics) -> None:
        done = metrics.step - self._start
        took = time.monotonic() - self._started - self._paused_s
        if self._bar is None:
            log.info("%s", metrics.line(self._total, took / done * (self._total - metrics.step)))
            return
        rate = metrics.tokens / metrics.seconds if metrics.seconds else 0.0
        self._bar.update(
            self._task,
            completed=metrics.step,
            figures=f"loss {metrics.loss:.3f}  {took / done:.1f} s/step  {rate:.0f} tokens/s",
        )

    def pause(self) -> None:
        """Something else has the terminal (an evaluation): its time is not training's."""
        self._pause_began = time.monotonic()
        if self._bar is not None:
            self._bar.stop()

    def go_on(self) -> None:
        self._paused_s += time.monotonic() - self._pause_began
        if self._bar is not None:
            self._bar.start()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
