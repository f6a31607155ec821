"""Notices a changed file, however it is written: in place, by rename, or by swapping a link."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import awatch

_POLL_MS = 500

# Device, inode, size, modification time (ns) of what the path leads to; None where nothing is.
Signature = tuple[int, int, int, int] | None


def signature(path: Path) -> Signature:
    """What tells one content of `path` from the next. Follows links."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


async def watch_file(
    path: Path, seen: Signature, on_change: Callable[[], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Call `on_change` whenever `path` differs from `seen` and then from what it was last.

    `seen` is taken before the first reading, so that no edit falls between reading and watching.
    The folder's events wake it at once; a look every half second covers what sends none (links
    swapped in another folder, network file systems, a folder that was replaced).
    """
    while not stop.is_set():
        with contextlib.suppress(OSError):  # the folder is away for a moment
            async for _ in awatch(
                path.parent,
                watch_filter=None,
                recursive=False,
                stop_event=stop,
                debounce=200,
                step=20,
                rust_timeout=_POLL_MS,
                yield_on_timeout=True,
            ):
                now = await asyncio.to_thread(signature, path)
                # Between the two halves of a save by rename there is no file.
                if now is not None and now != seen:
                    seen = now
                    await on_change()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_MS / 1000):
                await stop.wait()
