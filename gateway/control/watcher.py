"""Notices a saved file, however an editor writes it (in place, or by rename)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import Change, awatch


async def watch_file(
    path: Path, on_change: Callable[[], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Call `on_change` after each save of `path`, until `stop`. Watches the folder, as a rename
    over the file would leave a watch on the old one."""
    wanted = await asyncio.to_thread(path.resolve)

    def concerns(_: Change, changed: str) -> bool:
        return Path(changed) == wanted

    async for _ in awatch(
        wanted.parent,
        watch_filter=concerns,
        recursive=False,
        stop_event=stop,
        debounce=200,
        step=20,
    ):
        if await asyncio.to_thread(
            path.exists
        ):  # between the two halves of a save by rename there is no file
            await on_change()
