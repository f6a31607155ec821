"""A real `gateway serve` in a process of its own, on free ports."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.gateway.conftest import settings_for

_ADDRESS = re.compile(r"(inference|admin) +(http://[^/]+)/")
_START_S = 90

# Put before the command where a test needs a real model's pace: a tiny one ends at once.
SLOW_STEPS = """
import time
from gateway.engine.embedded.runner import Runner
run = Runner.run
def slowed(self, step):
    time.sleep(0.01)
    return run(self, step)
Runner.run = slowed
"""


@dataclass
class Served:
    """A running gateway. `log` is what it has said on stderr."""

    process: asyncio.subprocess.Process
    inference: str = ""
    admin: str = ""
    log: list[str] = field(default_factory=list)
    reading: asyncio.Task[None] | None = None

    async def order(self, method: str, path: str, **body: object) -> httpx.Response:
        """Call the admin API."""
        async with httpx.AsyncClient(base_url=f"{self.admin}/admin/v1", timeout=30) as client:
            return await client.request(method, path, json=body or None)

    async def ended(self, deadline_s: float = 30) -> int:
        """The exit code. Fails where the process does not end."""
        try:
            return await asyncio.wait_for(self.process.wait(), deadline_s)
        except TimeoutError:
            raise AssertionError(f"the gateway did not end:\n{''.join(self.log)}") from None

    async def kill(self) -> None:
        """Make sure that nothing is left of it."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if self.reading is not None:
            await self.reading


async def serve(files: Path, folder: Path, *, prelude: str = "", **more: object) -> Served:
    """Start `gateway serve` with the settings of the in-process fixtures; `prelude` is Python to
    run before it. Returns once it serves."""
    settings = settings_for(files, folder, **more).model_dump(mode="json", exclude_unset=True)
    flags = [
        part
        for name, value in settings.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    code = f"{prelude}\nfrom gateway.cli.main import app\napp()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "serve", *flags),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    served = Served(process)
    lines = process.stderr
    assert lines is not None

    async def read() -> None:
        async for line in lines:
            served.log.append(line.decode())

    served.reading = asyncio.create_task(read())
    deadline = asyncio.get_running_loop().time() + _START_S
    while not served.admin:
        said = "".join(served.log)
        if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
            await served.kill()
            raise AssertionError(f"the gateway did not start:\n{said}")
        for name, address in _ADDRESS.findall(said):
            setattr(served, name, address)
        await asyncio.sleep(0.02)
    return served
