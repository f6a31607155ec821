"""The HTTP of an engine server: the endpoints of vLLM that gateways use, over an `Engine`.

It routes nothing and knows no workflow: it answers by the adapter that a request names, or by the
base, and by no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.api import errors, telemetry
from gateway.api.bodies import WholeBody
from gateway.api.limits import BodyLimits
from gateway.api.request_id import RequestIds, request_id_of
from gateway.engine.base import Delta, Engine
from gateway.engine_readings import Capacities, EngineReadings
from gateway.engine_server.answer import StreamedAnswer
from gateway.engine_server.bodies import CompletionBody, LoadBody, TokenizeBody, UnloadBody
from gateway.engine_server.door import KeyDoor
from gateway.engine_server.events import event
from gateway.engine_server.shelf import Shelf
from gateway.errors import AdapterRejected, EngineUnavailable, GatewayError, NotFound


class EngineApp:
    """The app, and whether it takes requests. For one event loop."""

    def __init__(self, engine: Engine, *, adapters: int, key: str, body: BodyLimits) -> None:
        """`adapters` is how many may be loaded; `key` what gateways must show (empty: none)."""
        self._engine = engine
        self._shelf = Shelf(engine, adapters)
        self._draining = False
        self._metrics = CollectorRegistry()
        self._metrics.register(EngineReadings(engine))
        self._metrics.register(Capacities(engine))
        app = FastAPI(
            title="Engine",
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            telemetry=telemetry.OFF,
        )
        errors.install(app)
        app.get("/health")(self._health)
        app.get("/metrics")(self._scrape)
        app.get("/v1/models")(self._models)
        app.post("/tokenize")(self._tokenize)
        app.post("/v1/load_lora_adapter")(self._load)
        app.post("/v1/unload_lora_adapter")(self._unload)
        app.post("/v1/completions", response_model=None)(self._complete)
        self.asgi: Any = RequestIds(KeyDoor(WholeBody(app, body), key))

    def drain(self) -> None:
        """Take no more requests: gateways send them elsewhere. What runs goes on."""
        self._draining = True

    async def _health(self) -> JSONResponse:
        if self._draining:
            return JSONResponse({"status": "stopping"}, 503)
        healthy = self._engine.stats().healthy
        return JSONResponse({"status": "ok" if healthy else "failed"}, 200 if healthy else 503)

    async def _scrape(self) -> Response:
        return Response(generate_latest(self._metrics), media_type=CONTENT_TYPE_LATEST)

    async def _models(self) -> dict[str, Any]:
        info = self._engine.info
        base = {
            "id": info.model,
            "object": "model",
            "parent": None,
            "max_model_len": info.max_len,
            "fingerprint": info.fingerprint,
        }
        adapters = [
            {"id": name, "object": "model", "parent": info.model} for name in self._shelf.names
        ]
        return {"object": "list", "data": [base, *adapters]}

    async def _tokenize(self, body: TokenizeBody) -> dict[str, Any]:
        tokens = self._engine.text.encode(body.prompt)
        return {
            "tokens": tokens,
            "count": len(tokens),
            "max_model_len": self._engine.info.max_len,
        }

    async def _load(self, body: LoadBody) -> dict[str, str]:
        self._require_open()
        await self._shelf.load(body.lora_name, Path(body.lora_path))
        return {"status": "loaded"}

    async def _unload(self, body: UnloadBody) -> dict[str, str]:
        self._shelf.unload(body.lora_name)
        return {"status": "unloaded"}

    async def _complete(self, body: CompletionBody, request: Request) -> StreamedAnswer:
        self._require_open()
        base = body.model == self._engine.info.model
        adapter = None if base else self._shelf.find(body.model)
        request_id = request_id_of(request)

        def shown(delta: Delta) -> bytes:
            return event(delta, body.model, request_id)

        def explained(error: GatewayError) -> GatewayError:
            if not isinstance(error, AdapterRejected):
                return error
            # As if it had never been loaded: the gateway loads it again, and hears why not.
            self._shelf.lost(body.model)
            return NotFound(f"the model `{body.model}` is lost: {error.message}", param="model")

        stream = self._engine.generate(body.request(request_id, adapter))
        return StreamedAnswer(stream, shown, explained)

    def _require_open(self) -> None:
        if self._draining:
            raise EngineUnavailable("this server is stopping; ask another")
