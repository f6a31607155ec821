"""Requests at several gateways until SIGTERM; each answer's status, target and revision."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import httpx

WORKFLOWS = ("w", "v")
_PAUSE_S = 0.02  # between an answer and the next request of a client


async def client(url: str, workflow: str, stop: asyncio.Event, found: list[list[object]]) -> None:
    body = {
        "model": workflow,
        "messages": [{"role": "user", "content": "fox"}],
        "max_tokens": 1,
        "temperature": 0,
    }
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        while not stop.is_set():
            try:
                answer = await http.post("/v1/chat/completions", json=body)
            except httpx.HTTPError as error:
                found.append([repr(error), workflow, "", 0])
                continue
            headers = answer.headers
            said = headers.get("x-gateway-target", ""), headers.get("x-gateway-revision", "0")
            found.append([answer.status_code, workflow, said[0], int(said[1])])
            await asyncio.sleep(_PAUSE_S)


async def main(urls: list[str], out: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    found: list[list[object]] = []
    clients = [client(url, workflow, stop, found) for url in urls for workflow in WORKFLOWS]
    await asyncio.gather(*clients)
    await asyncio.to_thread(out.write_text, json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2:], Path(sys.argv[1])))
