"""A command on a real pseudo-terminal of 80 columns: what it shows, what is typed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])")
_DEADLINE_S = 60.0


def _take(slave: int) -> None:
    """Make it the process's own terminal, or ctrl-c is a letter; and heed that, which tests that
    run in the background do not."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """Runs Python's `code` with `arguments` as the terminal's only session."""

    def __init__(
        self,
        code: str,
        *arguments: str,
        environment: Mapping[str, str],
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = self.settings()
        slave = self.slave
        usual = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**usual, "TERM": "xterm-256color", **environment},
            start_new_session=True,
            preexec_fn=lambda: _take(slave),
        )
        os.set_blocking(self._master, False)
        self.raw = ""

    def settings(self) -> object:
        """How the terminal is set: echo, line mode and so on."""
        return termios.tcgetattr(self.slave)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def shows(self, text: str) -> None:
        """Wait until `text` was written since the last call that waited."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_S
        while text not in (seen := self._read()):
            ended = self.process.poll()
            assert ended is None, f"it ended with {ended}:\n{seen}"
            assert asyncio.get_running_loop().time() < deadline, f"no {text!r} in:\n{seen}"
            await asyncio.sleep(0.02)
        self._shown = len(self.raw)

    async def ended(self) -> int:
        """The exit code."""
        code = await asyncio.to_thread(self.process.wait, _DEADLINE_S)
        self._read()
        return code

    def close(self) -> None:
        """Make sure that nothing is left of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self.slave)

    _shown = 0

    def _read(self) -> str:
        """What was written since, without colours and cursor movements."""
        while True:
            try:
                piece = os.read(self._master, 65536)
            except BlockingIOError:
                break
            if not piece:
                break
            self.raw += piece.decode("utf-8", "replace")
        return _ESCAPES.sub("", self.raw[self._shown :])
