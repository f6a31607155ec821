"""Keeps processes: starts again what ends by itself, and ends all of them with itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_AGAIN_S = 1.0  # pause before a process that ended is started again
_STOP_S = 45.0  # longer than the gateways' grace


@dataclass(frozen=True, slots=True)
class Command:
    """What a process is started by; `environment` is laid over this process's own."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Member:
    """One process of the stack. The supervisor alone writes it."""

    name: str
    command: Command
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: int = 0
    next_start: float = 0.0


@dataclass
class Stack:
    """Its members in the order of their start; ended in the other direction."""

    members: list[Member] = field(default_factory=list)

    def keep(self, stop: threading.Event) -> None:
        """Start all, start again what ends, until `stop`; then end all."""
        try:
            while not stop.wait(0.1):
                for member in self.members:
                    self._look_after(member)
        finally:
            self._end()

    def _look_after(self, member: Member) -> None:
        now = time.monotonic()
        if member.process is not None:
            code = member.process.poll()
            if code is None:
                return
            say(f"{member.name} ended ({code}), it is started again; see {member.log}")
            _signal(member.process, signal.SIGKILL)  # what it started and left behind
            member.process, member.next_start = None, now + _AGAIN_S
        if now >= member.next_start:
            with member.log.open("ab") as log:
                member.process = subprocess.Popen(
                    member.command.words,
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                    env={**os.environ, **member.command.environment},
                    start_new_session=True,
                )
            member.started += 1

    def _end(self) -> None:
        for member in reversed(self.members):
            if member.process is None:
                continue
            member.process.terminate()
            try:
                member.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                say(f"{member.name} does not end, and is killed")
            _signal(member.process, signal.SIGKILL)
            member.process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """To it and everything that it started: each member has a process group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def say(text: str) -> None:
    """A line for whoever started the stack."""
    with contextlib.suppress(OSError):
        print(f"[stack] {text}", file=sys.stderr, flush=True)
