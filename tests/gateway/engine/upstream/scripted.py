"""A server that speaks vLLM's protocol over real HTTP, and fails as it is told to.

It runs no model: it says the letters of the alphabet, one token each, after the adapter's letter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.tiny import make_tokenizer

TOKENIZER = make_tokenizer()
MODEL = "tiny"


def error(status: int, message: str, **headers: str) -> JSONResponse:
    body = {"error": {"message": message, "type": "error", "param": None, "code": status}}
    return JSONResponse(body, status, headers)


@dataclass
class Script:
    """What the server does from now on."""

    refuse: int = 0  # with this status
    die_after: int | None = None  # tokens; then the connection breaks
    hold_first: asyncio.Event | None = None  # nothing is said before it is set
    hold_after: int | None = None  # tokens; then nothing is said until `go_on` is set
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    answer_as: str = ""  # another model's name
    ill: bool = False
    refuse_loads: str = ""
    hold_loads: asyncio.Event | None = None
    fail_in_stream: bool = False


class ScriptedServer:
    """One server. `url` is known once it was started; it keeps its port when started again."""

    def __init__(self) -> None:
        self.script = Script()
        self.adapters: dict[str, str] = {}
        self.bodies: list[dict[str, Any]] = []  # of requests that were asked for
        self.parents: list[str] = []  # their `traceparent`
        self.callers: set[int] = set()  # the ports that they came from: one a connection
        self.loads: list[str] = []
        self.unloads: list[str] = []
        self.base = MODEL
        self.shift = 0  # of every token id: another tokenizer
        self.left = 0  # requests whose client went away
        self.port = 0
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
            ]
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=self.port, log_config=None, lifespan="off"
        )
        config.timeout_graceful_shutdown = 0
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
        self._server, self._task = server, asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.005)
        self.port = server.servers[0].sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Break every connection and listen no more; what it held is forgotten."""
        if self._server is None or self._task is None:
            return
        for connection in list(self._server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        self._server.should_exit = self._server.force_exit = True
        await self._task
        self._server = None
        self.adapters.clear()

    async def _health(self, _: Request) -> Response:
        return Response(status_code=503 if self.script.ill else 200)

    async def _models(self, _: Request) -> Response:
        base = {"id": self.base, "parent": None, "max_model_len": 300}
        cards = [{"id": name, "parent": MODEL} for name in self.adapters]
        return JSONResponse({"object": "list", "data": [base, *cards]})

    async def _tokenize(self, request: Request) -> Response:
        text = (await request.json())["prompt"]
        ids = [token + self.shift for token in TOKENIZER(text)["input_ids"]]
        return JSONResponse({"tokens": ids})

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        self.loads.append(body["lora_name"])
        if self.script.hold_loads is not None:
            await self.script.hold_loads.wait()
        if self.script.refuse_loads:
            return error(500, self.script.refuse_loads)
        if body["lora_name"] in self.adapters:
            return error(400, f"The adapter {body['lora_name']} has already been loaded.")
        self.adapters[body["lora_name"]] = body["lora_path"]
        return Response("Success")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        self.unloads.append(name)
        if self.adapters.pop(name, None) is None:
            return error(404, f"The adapter {name} cannot be found.")
        return Response("Success")

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.parents.append(request.headers.get("traceparent", ""))
        assert request.client is not None
        self.callers.add(request.client.port)
        script = self.script
        if script.refuse:
            return error(script.refuse, "no", **{"retry-after": "7"})
        if body["model"] != MODEL and body["model"] not in self.adapters:
            return error(404, f"The model `{body['model']}` does not exist.")
        return StreamingResponse(self._events(body, script), media_type="text/event-stream")

    async def _events(self, body: dict[str, Any], script: Script) -> AsyncIterator[str]:
        try:
            if script.hold_first is not None:
                await script.hold_first.wait()
            if script.fail_in_stream:
                yield f"data: {json.dumps({'error': {'message': 'dead', 'code': 500}})}\n\n"
                return
            letter = "A" if body["model"] == MODEL else chr(ord("B") + len(self.loads))
            letters = letter + "abcdefghijklmnopqrstuvwxyz" * 40
            for count in range(body["max_tokens"]):
                if count == script.die_after:
                    raise ConnectionResetError
                if count == script.hold_after:
                    await script.go_on.wait()
                last = count == body["max_tokens"] - 1
                for index in range(body["n"]):
                    choice = {
                        "index": index,
                        "text": letters[count],
                        "token_ids": TOKENIZER(letters[count])["input_ids"],
                        "logprobs": None,
                        "finish_reason": "length" if last else None,
                    }
                    event = {"model": script.answer_as or body["model"], "choices": [choice]}
                    yield f"data: {json.dumps(event)}\n\n"
            yield "data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise
