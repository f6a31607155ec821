"""The stack of `make stack` over a tiny model, and hands to kill its processes."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.engine.base import GenerationRequest, SamplingParams, TokenLogprob
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.model.fingerprint import fingerprint
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from tests import tiny
from tests.deploy.load import TOKENS
from tests.deploy.manifests import ROOT
from tests.redis_server import free_port

ROUTES = """\
version: 1
workflows:
  triage: {target: triage@1, temperature: 0}
  notes: {target: triage@2, temperature: 0}
"""
PROMPTS = ("fox", "the quick", "a gateway sends", "lazy dog", "each workflow", "0123")
MAX_LEN = 500


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _by_more_than_rounding(score: TokenLogprob) -> bool:
    return score.top[0].logprob - score.top[1].logprob > 1e-3


@dataclass
class Site:
    """What the stack serves, in a folder."""

    folder: Path
    model: Path = field(init=False)
    adapters: dict[str, AdapterArtifact] = field(init=False)

    def __post_init__(self) -> None:
        self.model = tiny.make_tiny_model(self.folder / "model")
        registry = Registry(self.folder / "registry")
        self.adapters = {}
        for version in (1, 2):
            made = tiny.make_tiny_adapter(self.folder / f"a{version}", self.model, seed=version)
            ref = f"triage@{version}"
            self.adapters[ref] = tiny.publish(registry, made, ref, self.model)
        (self.folder / "routes.yaml").write_text(ROUTES)

    def expected(self) -> dict[tuple[str, str], str]:
        """How each target's answer to each prompt begins, by an engine of this process: as far as
        its likeliest token is so by more than rounding, which differs from batch to batch. They
        differ from the first tokens on: an answer says itself which model it is of."""

        async def ask() -> dict[tuple[str, str], str]:
            engine = EmbeddedEngine(
                self.model,
                name="tiny",
                fingerprint=fingerprint(self.model),
                options=EngineOptions(device="cpu", slots=2, max_len=MAX_LEN, threads=1),
            )
            engine.start()
            sampling = SamplingParams(max_tokens=TOKENS, temperature=0, logprobs=2)

            async def one(target: str, prompt: str) -> str:
                tokens = tuple(engine.text.encode(prompt))
                adapter = self.adapters.get(target)
                stream = engine.generate(GenerationRequest(prompt, tokens, sampling, adapter))
                scores = [score for delta in [d async for d in stream] for score in delta.logprobs]
                sure = itertools.takewhile(_by_more_than_rounding, scores)
                return engine.text.decode([score.token_id for score in sure]).rstrip("\ufffd")

            asked = [(target, prompt) for target in ("base", *self.adapters) for prompt in PROMPTS]
            texts = await asyncio.gather(*(one(*each) for each in asked))
            await engine.close()
            return dict(zip(asked, texts, strict=True))

        found = asyncio.run(ask())
        for prompt in PROMPTS:
            beginnings = {text[:8] for (_, asked), text in found.items() if asked == prompt}
            assert len(beginnings) == 1 + len(self.adapters)
        return found


@dataclass
class Running:
    """A running stack."""

    site: Site
    engines: str = "gateway"
    prometheus: str | None = None  # its program
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(8)])
    supervisor: subprocess.Popen[str] | None = None

    @property
    def bases(self) -> tuple[str, str]:
        """The gateways' inference addresses."""
        return (f"http://127.0.0.1:{self.ports[2]}", f"http://127.0.0.1:{self.ports[4]}")

    @property
    def admins(self) -> tuple[str, str]:
        return (f"http://127.0.0.1:{self.ports[3]}", f"http://127.0.0.1:{self.ports[5]}")

    @property
    def servers(self) -> tuple[str, str]:
        """The engines' addresses."""
        return (f"http://127.0.0.1:{self.ports[6]}", f"http://127.0.0.1:{self.ports[7]}")

    def start(self) -> None:
        """Start it, and wait until both gateways are ready and both engines in use."""
        folder = self.site.folder
        command = [sys.executable, "-m", "scripts.stack", "--folder", str(folder / "stack")]
        command += ["--routes", str(folder / "routes.yaml")]
        command += ["--registry", str(folder / "registry"), "--engines", self.engines]
        command += ["--ports", *map(str, self.ports)]
        if self.prometheus is not None:
            command += ["--prometheus", self.prometheus]
        settings = {
            "GATEWAY_MODEL": str(self.site.model),
            "GATEWAY_DEVICE": "cpu",
            "GATEWAY_MAX_LEN": str(MAX_LEN),
            "GATEWAY_GRACE_S": "0.5",
            "GATEWAY_SERVER_CHECK_S": "0.2",
            "GATEWAY_THREADS": "1",
        }
        self.supervisor = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}
        )
        until(lambda: all(self.ready(base) for base in self.bases), 180)
        if self.engines != "none":
            until(lambda: all(self.in_use(server) for server in self.servers), 120)

    def stop(self) -> None:
        """End it; it leaves nothing behind."""
        assert self.supervisor is not None
        self.supervisor.terminate()
        assert self.supervisor.wait(60) == 0
        left = subprocess.run(["pgrep", "-af", str(self.site.folder)], capture_output=True)
        assert left.stdout == b""

    def pid(self, *words: str) -> int:
        """The one process of the stack whose command has all these words."""
        found = subprocess.run(["pgrep", "-f", ".*".join(words)], capture_output=True, text=True)
        (pid,) = {int(line) for line in found.stdout.split() if int(line) != os.getpid()}
        return pid

    def ready(self, base: str) -> bool:
        """Whether a gateway takes requests."""
        try:
            return httpx.get(f"{base}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def status(self, admin: str) -> dict[str, Any]:
        """What a gateway says of itself."""
        found: dict[str, Any] = httpx.get(f"{admin}/admin/v1/status", timeout=30).json()
        return found

    def of_server(self, admin: str, server: str) -> dict[str, Any]:
        """What a gateway says of an engine."""
        servers = self.status(admin)["stats"]["servers"]
        found: dict[str, Any] = next(one for one in servers if one["name"] == server)
        return found

    def in_use(self, server: str) -> bool:
        """Whether every gateway sends requests to an engine, and has it hold its adapters."""
        said = [self.of_server(admin, server) for admin in self.admins]
        most = len(self.site.adapters)
        return all(one["circuit"] == "closed" and one["adapters"] == most for one in said)

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
