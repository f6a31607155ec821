"""The stack without containers: every process is killed once under requests, and nothing that was
acknowledged is forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from gateway.registry.store import Registry
from tests import tiny
from tests.deploy.manifests import ROOT
from tests.redis_server import free_port

ROUTES = """\
version: 1
workflows:
  triage: {target: triage@1, max_tokens: 4}
  notes: {target: triage@2, max_tokens: 4}
"""


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@dataclass
class Client(threading.Thread):
    """Asks both workflows at both gateways in turn, for ever; a refused connection sends it to the
    other gateway."""

    bases: tuple[str, str]
    stop: threading.Event = field(default_factory=threading.Event)
    answers: list[tuple[str, str, str]] = field(default_factory=list)  # workflow, target, reason
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        with httpx.Client(timeout=30) as http:
            turn = 0
            while not self.stop.is_set():
                turn += 1
                workflow = ("triage", "notes")[turn % 2]
                for base in (self.bases[turn % 2], self.bases[1 - turn % 2]):
                    if self._ask(http, base, workflow):
                        break
                else:
                    self.failed.append(workflow)

    def _ask(self, http: httpx.Client, base: str, workflow: str) -> bool:
        body = {"model": workflow, "prompt": "fox", "max_tokens": 3}
        try:
            answer = http.post(f"{base}/v1/completions", json=body)
        except httpx.TransportError:
            return False
        if answer.status_code != 200:
            return False
        heads = answer.headers
        self.answers.append((workflow, heads["x-gateway-target"], heads["x-gateway-reason"]))
        return True


@dataclass
class Running:
    folder: Path
    bases: tuple[str, str]
    admins: tuple[str, str]
    redis_port: int

    def pid(self, *words: str) -> int:
        """The one process of the stack whose command has all these words."""
        found = subprocess.run(["pgrep", "-f", ".*".join(words)], capture_output=True, text=True)
        (pid,) = {int(line) for line in found.stdout.split() if int(line) != os.getpid()}
        return pid

    def ready(self, base: str) -> bool:
        try:
            return httpx.get(f"{base}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self, *words: str) -> None:
        """Kill a process; returns once another one stands in its place."""
        before = self.pid(*words)
        os.kill(before, signal.SIGKILL)

        def again() -> bool:
            try:
                return self.pid(*words) != before
            except ValueError:
                return False

        until(again)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    model = tiny.make_tiny_model(tmp_path / "model")
    registry = Registry(tmp_path / "registry")
    for version in (1, 2):
        adapter = tiny.make_tiny_adapter(tmp_path / f"a{version}", model, seed=version)
        tiny.publish(registry, adapter, f"triage@{version}", model)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    ports = [free_port() for _ in range(6)]
    command = [sys.executable, "-m", "scripts.stack", "--folder", str(tmp_path / "stack")]
    command += ["--routes", str(tmp_path / "routes.yaml"), "--registry", str(registry.root)]
    command += ["--ports", *map(str, ports), "--"]
    command += ["--model", str(model), "--device", "cpu", "--max-len", "500", "--grace-s", "0.5"]
    supervisor = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    bases = (f"http://127.0.0.1:{ports[2]}", f"http://127.0.0.1:{ports[4]}")
    admins = (f"http://127.0.0.1:{ports[3]}", f"http://127.0.0.1:{ports[5]}")
    stack = Running(tmp_path / "stack", bases, admins, ports[0])
    try:
        until(lambda: all(stack.ready(base) for base in bases), 120)
        yield stack
    finally:
        supervisor.terminate()
        assert supervisor.wait(60) == 0
    # It leaves nothing behind.
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True)
    assert left.stdout.split() == []


def test_each_process_is_killed_once_and_a_disable_is_never_forgotten(running: Running) -> None:
    client = Client(running.bases)
    client.start()
    order = httpx.post(
        f"{running.admins[0]}/admin/v1/workflows/triage/disable",
        json={"reason": "answers nonsense"},
        timeout=30,
    )
    assert order.status_code == 200, order.text
    until(lambda: bool(client.answers) and client.answers[-1][0] == "triage")
    from_here = len(client.answers)

    running.kill("redis-server", str(running.redis_port))
    for name, base in zip(("gateway-a", "gateway-b"), running.bases, strict=True):
        running.kill("gateway serve", f"replica {name}")
        until(partial(running.ready, base), 120)
    seen = len(client.answers)
    until(lambda: len(client.answers) > seen + 4)
    client.stop.set()
    client.join(60)

    assert client.failed == []
    told = set(client.answers[from_here:])
    assert told == {("triage", "base", "disabled"), ("notes", "triage@2", "route")}
    status = httpx.get(f"{running.admins[1]}/admin/v1/status", timeout=30).json()
    assert status["log"]["ok"] is True
