"""A stream of requests at real gateways, and waits for what the gateways say of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.gateway.process.served import Served


@dataclass(frozen=True)
class Answered:
    """One answer of the stream of requests. `asked` is the loop's time before it was sent."""

    asked: float
    replica: str
    workflow: str
    status: int
    target: str
    reason: str


@dataclass
class Clients:
    """One client at each replica that asks the workflows in turn, for ever."""

    workflows: Sequence[str]
    pause_s: float = 0.0  # between two requests
    answers: list[Answered] = field(default_factory=list)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def begin(self, name: str, address: str) -> None:
        self._tasks[name] = asyncio.create_task(self._ask(name, address))

    async def end(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def end_all(self) -> None:
        for name in list(self._tasks):
            await self.end(name)

    async def _ask(self, name: str, address: str) -> None:
        loop = asyncio.get_running_loop()
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:
            while True:
                for workflow in self.workflows:
                    asked = loop.time()
                    body = {
                        "model": workflow,
                        "messages": [{"role": "user", "content": "fox"}],
                        "max_tokens": 2,
                    }
                    answer = await http.post("/v1/chat/completions", json=body)
                    told = answer.headers
                    self.answers.append(
                        Answered(
                            asked,
                            name,
                            workflow,
                            answer.status_code,
                            told.get("x-gateway-target", ""),
                            told.get("x-gateway-reason", ""),
                        )
                    )
                    await asyncio.sleep(self.pause_s)

    async def went(self, replica: str, workflow: str, since: float) -> tuple[str, str]:
        """Where all requests since then went, of which there is at least one."""

        def found() -> set[tuple[str, str]]:
            return {
                (one.target, one.reason)
                for one in self.answers
                if (one.replica, one.workflow) == (replica, workflow) and one.asked >= since
            }

        await until(lambda: bool(found()))
        (only,) = found()
        return only


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.02)


async def status(gateway: Served) -> dict[str, Any]:
    answer = await gateway.order("GET", "/status")
    return dict(answer.json())


async def without_log(gateway: Served) -> None:
    """Wait until the gateway has noticed that its log is away."""
    async with asyncio.timeout(60):
        while True:
            if not (await status(gateway))["log"]["ok"]:
                return
            await asyncio.sleep(0.05)


async def with_whole_copy(gateway: Served) -> None:
    """Wait until the gateway's copy of the log is on its disk."""
    async with asyncio.timeout(60):
        while True:
            if (await status(gateway))["log"]["copy_error"] is None:
                return
            await asyncio.sleep(0.05)


async def agreed(gateways: list[Served]) -> int:
    """The one revision that all serve, once their logs are there and nothing is owed."""
    async with asyncio.timeout(60):
        while True:
            told = [await status(gateway) for gateway in gateways]
            revisions = {one["revision"] for one in told}
            whole = all(one["log"]["ok"] and not one["log"]["owed"] for one in told)
            if whole and len(revisions) == 1:
                return int(revisions.pop())
            await asyncio.sleep(0.05)
