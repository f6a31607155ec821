"""Serves the console's files. They hold no secret and are open to whoever reaches the port; what
they show comes from the admin API, which asks for a key where there are keys."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/console"
FILES = Path(__file__).parent / "static"
# Scripts, styles and connections of this gateway alone; no text becomes a script; no frame
# around it.
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
HEADERS = {
    "content-security-policy": "; ".join(_POLICY),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",  # asked for again at each visit, and answered 304
}


def is_console(path: str) -> bool:
    """Whether a request's path is of these files; they need no key."""
    return path in ("/", PATH) or path.startswith(f"{PATH}/")


def mount(app: FastAPI) -> None:
    """Serve the files under /console/, and lead / there."""
    app.mount(PATH, _WithHeaders(StaticFiles(directory=FILES, html=True)))
    app.add_route("/", _to_console, include_in_schema=False)


async def _to_console(_: Request) -> RedirectResponse:
    return RedirectResponse(f"{PATH}/")


class _WithHeaders:
    """The headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, headed)
