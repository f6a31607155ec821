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
from gateway.api.request_id import HEADER, request_id_of

log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[errors.GatewayError], int, str], ...] = (
    (errors.BadInput, 400, "invalid_request_error"),
    (errors.NotFound, 404, "invalid_request_error"),
    (errors.NotAllowed, 409, "conflict_error"),
    (errors.RevisionConflict, 409, "conflict_error"),
    (errors.TableRejected, 422, "invalid_request_error"),
    (errors.AdapterRejected, 422, "invalid_request_error"),
    (errors.RequestTooLarge, 413, "invalid_request_error"),
    (errors.RequestTooSlow, 408, "invalid_request_error"),
    (errors.AnswerTooSlow, 504, "server_error"),
    (errors.NoValidKey, 401, "authentication_error"),
    (errors.KeyNotAllowed, 403, "permission_error"),
    (errors.RateLimited, 429, "rate_limit_error"),
    (errors.QueueFull, 429, "rate_limit_error"),
    (errors.LogUnavailable, 503, "server_error"),
    (errors.RegistryUnavailable, 503, "server_error"),
    (errors.EngineUnavailable, 503, "server_error"),
)


def status_of(error: errors.GatewayError) -> tuple[int, str]:
    """HTTP status and OpenAI error type."""
    for kind, status, name in _STATUS:
        if isinstance(error, kind):
            return status, name
    return 500, "server_error"


def error_object(error: errors.GatewayError, request_id: str = "") -> dict[str, Any]:
    """`{"error": {message, type, param, code, ...}}`. Where the fault is the gateway's, the log
    says more under `request_id`, and the error object names it."""
    body: dict[str, Any] = {
        "message": error.message,
        "type": status_of(error)[1],
        "param": getattr(error, "param", None),
        "code": error.code,
    }
    if request_id and status_of(error)[0] >= 500:
        body["message"] = f"{error.message} (request {request_id})"
        body["request_id"] = request_id
    if isinstance(error, errors.RevisionConflict):
        body |= {"expected": error.expected, "actual": error.actual, "actor": error.actor}
    if isinstance(error, errors.RateLimited):
        body |= {"limit": error.limit, "allowed": error.allowed}
    if isinstance(error, errors.TableRejected):
        body["problems"] = [asdict(problem) for problem in error.problems]
    return {"error": body}


def respond(
    error: errors.GatewayError, headers: dict[str, str] | None = None, *, request_id: str = ""
) -> JSONResponse:
    """The answer to a request that failed with `error`."""
    headers = dict(headers or {})
    if isinstance(error, errors.QueueFull | errors.RateLimited):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, errors.NoValidKey):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_object(error, request_id), status_of(error)[0], headers)


def install(app: FastAPI) -> None:
    """Have every failure of `app` answered as an error object."""

    @app.exception_handler(errors.GatewayError)
    async def known(request: Request, error: errors.GatewayError) -> JSONResponse:
        return respond(error, request_id=request_id_of(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return respond(_bad_input(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path}"
        allowed = (error.headers or {}).get("Allow", "")
        message, code = {
            404: (f"there is no {what}", "unknown_url"),
            405: (f"{what} is not allowed, only {allowed}", "method_not_allowed"),
        }.get(error.status_code, (str(error.detail), "bad_request"))
        body = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return JSONResponse({"error": body}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        request_id = request_id_of(request)
        log.error("request %s failed", request_id, exc_info=error)
        # This one is answered outside of the app's own layers.
        headers = {HEADER: request_id} if request_id else None
        fault = errors.EngineFault("the gateway failed; its log says why")
        return respond(fault, headers, request_id=request_id)


def _bad_input(first: Any) -> errors.BadInput:
    """The first fault that pydantic found, in the words of the API."""
    field = ".".join(str(part) for part in first["loc"] if part != "body")
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return errors.BadInput(f"the body is not JSON: {first['ctx']['error']}", code="bad_json")
    if not field:
        return errors.BadInput(f"the body is not as it should be: {message}; send a JSON object")
    if first["type"] == "extra_forbidden":
        message = "is not supported"
        return errors.BadInput(f"{field} {message}", param=field, code="unsupported_parameter")
    return errors.BadInput(f"{field}: {message}", param=field)
