"""Evaluate in a process of its own, which leaves its results in the run's folder.

Training keeps a team of worker threads in its process; an engine beside it would wait for the
same processors with a second team, and both would be slow (docs/decisions/003-one-thread-team.md).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gateway.model.source import ModelFiles
from trainer.errors import EvaluationError
from trainer.evals.progress import NoProgress, progress_on
from trainer.evals.results import read_evaluation
from trainer.evals.run import evaluate
from trainer.evals.suite import read_suites
from trainer.evals.targets.base import BASE
from trainer.evals.targets.engine import EngineHost, EngineTarget, adapter_at, open_engine
from trainer.evals.values import Evaluation, Split
from trainer.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be evaluated: the base and each adapter folder by its name."""

    model: ModelFiles
    suites: tuple[str, ...]
    split: Split
    adapters: Mapping[str, Path]
    folder: RunFolder
    max_rank: int
    show: bool  # progress, on standard output


def evaluate_apart(asked: Asked) -> dict[str, Evaluation]:
    """Evaluations by model name, the base's first; those that the folder has are not asked again.

    Raises EvaluationError and what `evaluate` raises.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            pool.submit(_evaluate, asked, os.getpid()).result()
    except BrokenProcessPool:
        raise EvaluationError(
            "the evaluation's process was killed; if memory ran out, free some and run again"
        ) from None
    return {
        name: read_evaluation(asked.folder.evaluation(asked.split, name))
        for name in (BASE, *asked.adapters)
    }


def _evaluate(asked: Asked, parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    asyncio.run(_in_engine(asked))


def _end_with(parent: int) -> None:
    """An evaluation that nobody waits for any more would only be in the way of the next run."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


async def _in_engine(asked: Asked) -> None:
    suites = read_suites(asked.suites)
    engine = open_engine(asked.model, max_rank=asked.max_rank)
    try:
        host = EngineHost(engine)
        await evaluate(
            suites,
            asked.split,
            base=EngineTarget(host),
            candidates=[
                EngineTarget(
                    host,
                    adapter_at(path, name, base_fingerprint=asked.model.fingerprint),
                    name=name,
                )
                for name, path in asked.adapters.items()
            ],
            folder=asked.folder,
            progress=progress_on(Console()) if asked.show else NoProgress(),
        )
    finally:
        await engine.close()
