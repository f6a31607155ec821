"""The fetcher's one endpoint. It gives nothing out but where on its machine an adapter lies."""

from __future__ import annotations

import hmac

from fastapi import FastAPI, Request

from gateway.api import errors, telemetry
from gateway.api.callers import bearer_token
from gateway.errors import NoValidKey
from gateway.fetcher.store import FetchedAdapters


def create_fetcher_app(adapters: FetchedAdapters, *, key: str) -> FastAPI:
    """`key` is what a gateway must show; empty: none (for loopback)."""
    app = FastAPI(title="Adapter fetcher", docs_url=None, redoc_url=None, telemetry=telemetry.OFF)
    errors.install(app)

    @app.post("/v1/adapters/{digest}")
    async def fetch(digest: str, request: Request) -> dict[str, str]:
        """Get the adapter if it is not here, and say where it is."""
        shown = bearer_token(request.scope["headers"]) or ""
        if key and not hmac.compare_digest(shown.encode(), key.encode()):
            raise NoValidKey("the fetcher's key is missing or wrong; set server_key to it")
        return {"path": str(await adapters.fetch(digest))}

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the process runs."""
        return {"status": "alive"}

    return app
