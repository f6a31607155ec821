"""Follows the log in a thread of its own and hands what comes to the event loop.

A log that is away is tried again with a growing, jittered pause. After every silence the history
is compared with what is folded here, because a store may come back with less than it had. Nothing
that goes wrong ends the thread: a replica that no longer follows would miss a disable.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from gateway.errors import GatewayError, LogUnavailable
from gateway.log.base import RevisionLog
from gateway.log.record import Record

log = logging.getLogger(__name__)

_WAIT_S = 1.0  # of one blocking read; also how often the history is compared
_PAUSE_S = (0.05, 5.0)  # between tries: the first, the longest

T = TypeVar("T")


class Follower:
    """One thread. `take` gets records on the loop and answers whether all of them follow what is
    folded here; `catch_up` is awaited on the loop to compare and read on; `lost` is told on the
    loop when the log is away.
    """

    def __init__(
        self,
        log: RevisionLog,
        *,
        revision: Callable[[], int],
        take: Callable[[Sequence[Record]], bool],
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
                    # What does not follow stays unread, and the next wait would give it again.
                    if not records or not self._on_loop(self._deliver(records)):
                        break
            except LogUnavailable as error:
                if self._stopping.is_set():
                    return
                self._on_loop(self._tell(error))
                pause = self._rest(pause)
            except (GatewayError, CancelledError):
                self._stopping.wait(_PAUSE_S[0])
            except Exception:
                if not self._stopping.is_set():
                    log.exception("following the log failed; it is tried again")
                pause = self._rest(pause)

    def _rest(self, pause: float) -> float:
        """Wait about `pause` seconds; returns the next pause."""
        self._stopping.wait(pause * random.uniform(0.5, 1.0))
        return min(pause * 2, _PAUSE_S[1])

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Have `work` done on the loop, and wait for it. None where the loop is closed: nobody is
        served any more."""
        assert self._loop is not None
        try:
            done = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            self._stopping.set()
            return None
        return done.result()

    async def _tell(self, error: LogUnavailable) -> None:
        self._lost(error)

    async def _deliver(self, records: Sequence[Record]) -> bool:
        return self._take(records)
