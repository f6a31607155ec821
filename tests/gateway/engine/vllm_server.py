"""A real vLLM server on CPU in a process group of its own, on a free port.

`make test-vllm` makes its environment (`scripts/vllm_env.sh`) and names it in VLLM_ENV; without
that the tests are skipped, with the reason.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from scripts.stack.commands import vllm

ENVIRONMENT = "VLLM_ENV"  # the virtual environment that holds vLLM
_START_S = 420


@dataclass
class VllmServer:
    """One server. It keeps its port when it is started again."""

    model: Path
    max_len: int
    flags: tuple[str, ...] = ()
    port: int = 0
    log: Path = Path(os.devnull)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        command = vllm(
            *(Path(os.environ[ENVIRONMENT]), self.model, self.port),
            name="tiny",
            max_len=self.max_len,
            threads=1,
            adapters=(2, 4),
            more=self.flags,
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command.words,
                env={**os.environ, **command.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its workers die with it
            )
        atexit.register(self.kill)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                said = self.log.read_text(errors="replace")[-3000:]
                raise AssertionError(f"vLLM did not come up:\n{said}")
            time.sleep(0.5)

    def kill(self) -> None:
        """End all of its processes at once, as a lost machine would."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stop it in its tracks; it keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def start_vllm(model: Path, *, max_len: int, flags: tuple[str, ...] = ()) -> VllmServer:
    """A running server; skips the test where vLLM is not installed."""
    if not os.environ.get(ENVIRONMENT):
        pytest.skip(f"needs vLLM: run `make test-vllm`, which installs it and sets {ENVIRONMENT}")
    server = VllmServer(model, max_len, flags, log=model.parent / "vllm.log")
    server.start()
    return server
