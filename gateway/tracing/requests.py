"""A span for each request of an app, with what the answer's headers say of it.

Outermost of the app, so that what the doors refuse is traced too. What a request asks of the engine
finds its span through `current`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.api.answering import Services
from gateway.api.asker import Asker
from gateway.api.callers import ANYBODY, Caller
from gateway.routing.table import Decision
from gateway.tracing import names

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PARENT = TraceContextTextMapPropagator()
_CARRIED = ("traceparent", "tracestate")
_SAID = {  # headers of an answer, and the attributes that repeat them
    b"x-request-id": names.REQUEST_ID,
    b"x-gateway-workflow": names.WORKFLOW,
    b"x-gateway-target": names.TARGET,
    b"x-gateway-reason": names.REASON,
}
_OPERATIONS = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}


@dataclass(eq=False)
class Traced:
    """One request under way. Written by the tasks of that request alone, on the event loop."""

    span: Span
    operation: str
    decision: Decision | None = None  # the last that was made for it
    attempts: int = 0  # of the engine
    error: str = ""  # code of the last attempt's failure; empty where it went well


current: ContextVar[Traced | None] = ContextVar("traced request", default=None)


class RequestSpans:
    """The app, with a span around each request to a path that begins with `under`. The caller's
    `traceparent` is the parent."""

    def __init__(self, app: Any, tracer: Tracer, under: str) -> None:
        self._app = app
        self._under = under
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(self._under):
            await self._app(scope, receive, send)
            return
        span = self._tracer.start_span(
            scope["method"],
            context=_PARENT.extract(_carrier(scope["headers"]), context=context.Context()),
            kind=SpanKind.SERVER,
            attributes={names.METHOD: scope["method"], names.SCHEME: scope["scheme"]},
        )
        traced = Traced(span, _OPERATIONS.get(path, ""))
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _note_headers(span, message["headers"])
            await send(message)

        attached = context.attach(trace.set_span_in_context(span))
        mine = current.set(traced)
        try:
            await self._app(scope, receive, noted)
        finally:
            current.reset(mine)
            context.detach(attached)
            _end(traced, scope, status)


class TracedServices(Services):
    """Services whose decisions are seen by the request's spans."""

    __slots__ = ()

    def decide(
        self, workflow: str, caller: Caller = ANYBODY, asker: Asker | None = None
    ) -> Decision:
        """See `Services.decide`."""
        decision = Services.decide(self, workflow, caller, asker)
        traced = current.get()
        if traced is not None:
            traced.decision = decision
        return decision


def propagated() -> dict[str, str]:
    """The headers that carry the running span to another server."""
    headers: dict[str, str] = {}
    _PARENT.inject(headers)
    return headers


def _carrier(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    said = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    return {name: value for name, value in said if name in _CARRIED}


def _note_headers(span: Span, headers: Iterable[tuple[bytes, bytes]]) -> None:
    for name, value in headers:
        if (attribute := _SAID.get(name)) is not None:
            span.set_attribute(attribute, value.decode("latin-1"))
        elif name == b"x-gateway-revision":
            span.set_attribute(names.REVISION, int(value))
        elif name == b"x-gateway-fallback":
            span.set_attribute(names.FALLBACK, value.decode("latin-1").split(", "))


def _end(traced: Traced, scope: Scope, status: int) -> None:
    """End the span. A status of 0: the client left before anything was said."""
    span = traced.span
    # Never the path itself: anybody can make up paths.
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.set_attribute(names.ROUTE, route)
        span.update_name(f"{scope['method']} {route}")
    if status:
        span.set_attribute(names.STATUS, status)
    if traced.error:  # also one in the midst of a stream, whose status said 200
        span.set_attribute(names.ERROR, traced.error)
    elif status >= 500:
        span.set_attribute(names.ERROR, str(status))
    if status >= 500 or (status == 200 and traced.error):
        span.set_status(StatusCode.ERROR)
    span.end()
