"""Who may keep a team of torch's worker threads: the engine thread, and no other.

Every thread that ran a parallel torch operation keeps its own OpenMP team until it ends. With more
workers than processors, the runtime stops its waiting workers from spinning, and each of the many
small operations of a decode step pays for waking them by the kernel instead (measured: a mixed
batch of 16 lost a third of its rate). See docs/decisions/003-one-thread-team.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import torch

T = TypeVar("T")


def run_apart(work: Callable[[], T]) -> T:
    """Run `work` in a thread that ends with it, so that its team of workers ends too.

    Waits for it and returns what it returned, or raises what it raised.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, name="torch-apart")
    thread.start()
    thread.join()
    return done.result()


def compute_alone() -> None:
    """Let the calling thread run torch operations without workers from here on.

    torch keeps the number per thread, but a thread that is new takes it from the last one that
    set it: that is put back, by another thread.
    """
    default = torch.get_num_threads()
    torch.set_num_threads(1)
    run_apart(lambda: torch.set_num_threads(default))
