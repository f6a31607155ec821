"""Errors as HTTP: one place for the inference API and the admin API, OpenAI's error object."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway import errors

log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[errors.GatewayError], int, str], ...] = (
    (errors.BadInput, 400, "invalid_request_error"),
    (errors.NotFound, 404, "invalid_request_error"),
    (errors.NotAllowed, 409, "conflict_error"),
    (errors.RevisionConflict, 409, "conflict_error"),
    (errors.TableRejected, 422, "invalid_request_error"),
    (errors.AdapterRejected, 422, "invalid_request_error"),
    (errors.NoValidKey, 401, "authentication_error"),
    (errors.KeyNotAllowed, 403, "permission_error"),
    (errors.RateLimited, 429, "rate_limit_error"),
    (errors.QueueFull, 429, "rate_limit_error"),
    (errors.LogUnavailable, 503, "server_error"),
)


def status_of(error: errors.GatewayError) -> tuple[int, str]:
    """HTTP status and OpenAI error type."""
    for kind, status, name in _STATUS:
        if isinstance(error, kind):
            return status, name
    return 500, "server_error"


def error_object(error: errors.GatewayError) -> dict[str, Any]:
    """`{"error": {message, type, param, code, ...}}`."""
    body: dict[str, Any] = {
        "message": error.message,
        "type": status_of(error)[1],
        "param": getattr(error, "param", None),
        "code": error.code,
    }
    if isinstance(error, errors.RevisionConflict):
        body |= {"expected": error.expected, "actual": error.actual, "actor": error.actor}
    if isinstance(error, errors.RateLimited):
        body |= {"limit": error.limit, "allowed": error.allowed}
    if isinstance(error, errors.TableRejected):
        body["problems"] = [asdict(problem) for problem in error.problems]
    return {"error": body}


def respond(error: errors.GatewayError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a request that failed with `error`."""
    headers = dict(headers or {})
    if isinstance(error, errors.QueueFull | errors.RateLimited):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, errors.NoValidKey):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_object(error), status_of(error)[0], headers)


def install(app: FastAPI) -> None:
    """Have every failure of `app` answered as an error object."""

    @app.exception_handler(errors.GatewayError)
    async def known(_: Request, error: errors.GatewayError) -> JSONResponse:
        return respond(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"] if part != "body"]
        field = ".".join(place)
        if first["type"] == "json_invalid":
            return respond(errors.BadInput(f"the body is not JSON: {first['ctx']['error']}"))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "is not supported"
        return respond(errors.BadInput(f"{field}: {message}", param=field or None))

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> JSONResponse:
        body = {
            "message": str(error.detail),
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
        return JSONResponse({"error": body}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", exc_info=error)
        return respond(errors.EngineFault("the gateway failed; its log says why"))
