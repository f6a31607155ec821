"""Follows the log in a thread of its own and hands what comes to the event loop.

A log that is away is tried again with a growing, jittered pause. After every silence the history
is compared with what is folded here, because a store may come back with less than it had.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from typing import Any

from gateway.errors import GatewayError, LogUnavailable
from gateway.log.base import RevisionLog
from gateway.log.record import Record

_WAIT_S = 1.0  # of one blocking read; also how often the history is compared
_PAUSE_S = (0.05, 5.0)  # between tries: the first, the longest


class Follower:
    """One thread. `take` gets records on the loop and answers the revision reached; `catch_up` is
    awaited on the loop to compare and read on; `lost` is told on the loop when the log is away.
    """

    def __init__(
        self,
        log: RevisionLog,
        *,
        revision: Callable[[], int],
        take: Callable[[Sequence[Record]], None],
        catch_up: Callable[[], Coroutine[Any, Any, None]],
        lost: Callable[[LogUnavailable], None],
    ) -> None:
        self._log = log
        self._revision = revision
        self._take = take
        self._catch_up = catch_up
        self._lost = lost
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-follower", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin. Call on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; closing the log ends its wait."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the thread's end. Blocks; not on the event loop."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = _PAUSE_S[0]
        while not self._stopping.is_set():
            try:
                self._on_loop(self._catch_up())
                pause = _PAUSE_S[0]
                while not self._stopping.is_set():
                    records = self._log.wait(after=self._revision(), timeout_s=_WAIT_S)
                    if not records:
                        break
                    self._on_loop(self._deliver(records))
            except LogUnavailable as error:
                if self._stopping.is_set():
                    return
                self._on_loop(self._tell(error))
                self._stopping.wait(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _PAUSE_S[1])
            except (GatewayError, CancelledError):
                self._stopping.wait(_PAUSE_S[0])

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        """Have `work` done on the loop and wait for it."""
        assert self._loop is not None
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except RuntimeError:  # the loop is closed: nobody is served any more
            work.close()
            self._stopping.set()

    async def _tell(self, error: LogUnavailable) -> None:
        self._lost(error)

    async def _deliver(self, records: Sequence[Record]) -> None:
        self._take(records)
