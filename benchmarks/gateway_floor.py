"""What the libraries cost alone: FastAPI takes a chat, aiohttp asks the upstream. Nothing is
decided, tokenized, checked or counted, so that no gateway on them is faster.

Usage: python -m benchmarks.gateway_floor PORT UPSTREAM
"""

from __future__ import annotations

import json
import sys
from typing import Any

import aiohttp
import uvicorn
import uvloop
from fastapi import FastAPI
from fastapi.responses import Response, StreamingResponse

from benchmarks.gateway_upstream import MODEL
from gateway.api.schemas import ChatRequest


def create_app(upstream: str) -> FastAPI:
    """One endpoint, which passes on what the upstream says."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    sessions: list[aiohttp.ClientSession] = []

    async def ask(body: ChatRequest) -> aiohttp.ClientResponse:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        asked: dict[str, Any] = {
            "model": MODEL,
            "messages": [message.plain() for message in body.messages],
            "max_tokens": body.max_tokens,
            "stream": body.stream,
        }
        headers = {"content-type": "application/json"}
        url = f"{upstream}/v1/chat/completions"
        return await sessions[0].post(url, data=json.dumps(asked), headers=headers)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest) -> Response:
        answer = await ask(body)
        if body.stream:
            return StreamingResponse(answer.content.iter_any(), media_type="text/event-stream")
        return Response(await answer.read(), media_type="application/json")

    return app


if __name__ == "__main__":
    config = uvicorn.Config(
        create_app(sys.argv[2]), port=int(sys.argv[1]), ws="none", lifespan="off", access_log=False
    )
    uvloop.run(uvicorn.Server(config).serve())
