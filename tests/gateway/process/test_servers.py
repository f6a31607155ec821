"""`gateway serve` over a model server, as a process of its own."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.gateway.engine.upstream.scripted import ScriptedServer
from tests.gateway.process.served import serve


async def test_a_served_gateway_answers_from_its_server_and_stops_when_told(
    tiny_files: Path, tmp_path: Path
) -> None:
    server = ScriptedServer()
    await server.start()
    served = await serve(tiny_files, tmp_path, engine="upstream", servers=server.url)
    try:
        body = {"model": "triage", "prompt": "fox", "max_tokens": 3}
        async with httpx.AsyncClient(base_url=served.inference, timeout=60) as http:
            answer = await http.post("/v1/completions", json=body)
        assert answer.headers["x-gateway-target"] == "triage@1"
        assert answer.json()["choices"][0]["text"].endswith("ab")
        served.process.terminate()
        assert await served.ended() == 0
    finally:
        await served.kill()
        await server.kill()
