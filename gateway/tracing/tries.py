"""A span for each try of a request on a server of the upstream engine, which that server's own
traces join."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from gateway.engine.upstream.faults import ServerFault
from gateway.tracing import names
from gateway.tracing.requests import current, propagated

_PORTS = {"http": 80, "https": 443}


class TriedSpans:
    """See `gateway.engine.upstream.tries.Tries`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def trying(self, server: str, path: str, tried: int) -> Iterator[None]:
        """A span while it lasts. What no request asks for is not traced."""
        if current.get() is None:
            yield
            return
        url = urlsplit(server)
        with self._tracer.start_as_current_span(
            f"POST {path}",
            kind=SpanKind.CLIENT,
            attributes={
                names.METHOD: "POST",
                names.ADDRESS: url.hostname or server,
                names.PORT: url.port or _PORTS.get(url.scheme, 0),
                names.RESENT: tried,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except ServerFault as fault:
                span.set_attribute(names.ERROR, fault.fault.value)
                span.set_status(StatusCode.ERROR)
                raise

    def headers(self) -> Mapping[str, str]:
        """`traceparent` of the running try; of background work none."""
        return propagated() if trace.get_current_span().get_span_context().is_valid else {}
