"""A real Redis for tests: started on a free port, stopped, killed, paused and started again."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

from scripts.stack.commands import redis_server

_START_S = 20.0


def free_port(below: int = 65536) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0 if below > 65535 else random.randrange(20000, below)))
        return int(probe.getsockname()[1])


class RedisServer:
    """One server with its data in `folder`. `options` are redis.conf lines as a mapping."""

    def __init__(self, folder: Path, **options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.options = options
        # A cluster's node listens at its port plus 10,000 as well.
        self.port = free_port(50000) if "cluster-enabled" in options else free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        return redis.Redis(
            port=self.port,
            decode_responses=True,
            username=self.options.get("user"),
            password=self.options.get("requirepass", "").strip('"') or None,
        )

    def start(self, *arguments: str) -> RedisServer:
        """Start and wait until it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            **self.options,
        }
        config = self.folder / "redis.conf"
        config.write_text(
            "".join(f"{name} {value or chr(34) * 2}\n" for name, value in options.items())
        )
        self._process = subprocess.Popen(
            [redis_server(), str(config), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.client().ping()
                return self
            except (redis.ConnectionError, redis.BusyLoadingError):
                assert self._process.poll() is None, "redis-server ended"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a lost machine would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it without closing anything: connections hang."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)
