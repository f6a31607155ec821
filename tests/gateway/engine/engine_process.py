"""A real `gateway engine` in a process of its own. It keeps its port when it is started again."""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.gateway.engine.real import MAX_LEN

_ADDRESS = re.compile(r"engine +http://[^/:]+:(\d+)/")
_START_S = 90


@dataclass
class EngineProcess:
    """One server over the tiny model in `model`. `flags` are more of the command's."""

    model: Path
    log: Path
    flags: tuple[str, ...] = ()
    prelude: str = ""  # Python to run before the command
    environment: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    within: tuple[str, ...] = ()  # words before the command: where it runs
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> EngineProcess:
        """Start it; returns once it serves."""
        code = f"{self.prelude}\nfrom gateway.cli.main import app\napp()"
        sizes = ("--slots", "2", "--max-rows", "6", "--max-len", str(MAX_LEN))
        command = [*self.within, sys.executable, "-c", code, "engine"]
        command += ["--host", self.host, "--port", str(self.port)]
        command += ["--model", str(self.model), "--device", "cpu", "--threads", "1", *sizes]
        at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--prefill-tokens", "16", "--grace-s", "0.5", *self.flags],
                stderr=log,
                env={**os.environ, "HF_HUB_OFFLINE": "1", **self.environment},
            )
        atexit.register(self.kill)
        deadline = time.monotonic() + _START_S
        while True:
            said = self.log.read_text(errors="replace")[at:]
            if (found := _ADDRESS.search(said)) is not None:
                self.port = int(found[1])
                return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the engine did not come up:\n{said}")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self, deadline_s: float = 30) -> int:
        """Its exit code. Raises where it does not end."""
        assert self.process is not None
        return self.process.wait(deadline_s)

    def kill(self) -> None:
        """End it at once, as a lost machine would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None
