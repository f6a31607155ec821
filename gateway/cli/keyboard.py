"""Single keys of a terminal, without Enter; ctrl-c stays what it is."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType


class Keyboard:
    """Use as a context: the terminal is left as it was found. Where standard input is no terminal
    no key is ever typed."""

    def __init__(self) -> None:
        self._fd: int | None = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._before: list[int | list[bytes | int]] | None = None
        self.woken = False

    def __enter__(self) -> Keyboard:
        if self._fd is not None:
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd is not None and self._before is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def typed(self, waker: int) -> str:
        """Wait until keys are typed or `waker` can be read (`woken` tells); the keys."""
        ends = [waker] if self._fd is None else [waker, self._fd]
        can_read, _, _ = select.select(ends, [], [])
        self.woken = waker in can_read
        if self._fd is None or self._fd not in can_read:
            return ""
        keys = os.read(self._fd, 1024)
        if not keys:  # the terminal went away
            self._fd = None
        return keys.decode("utf-8", "replace")
