"""What every serving process does alike: say so, stop when told, keep the collector quiet."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys


def say(text: str) -> None:
    """A line for whoever started it."""
    print(text, file=sys.stderr, flush=True)


def told_to_stop() -> asyncio.Event:
    """Set by SIGTERM and SIGINT. To be had before anybody is told that this process serves: a stop
    may follow on the word. Call on the event loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def settle() -> None:
    """Have the garbage collector pass over what was made up to now, which stays: a model's
    libraries are a million objects, and each full pass over them stops this process for a tenth of
    a second or more."""
    gc.collect()
    gc.freeze()
