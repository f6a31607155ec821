"""Tracing as the settings say: off, which imports nothing, or on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from gateway.errors import BadInput
from gateway.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from gateway.api.answering import Services
    from gateway.engine.upstream.tries import Tries
    from gateway.tracing.otel import Exporting

_FLUSH_S = 3.0  # the most that a stop waits for the collector


@dataclass(frozen=True, slots=True)
class Tracing:
    """Puts spans around what a gateway is made of."""

    exporting: Exporting
    provider: str  # what runs the model, in a trace's words

    @property
    def tracer(self) -> Tracer:
        return self.exporting.tracer

    def tries(self) -> Tries:
        """For an upstream engine."""
        from gateway.tracing.tries import TriedSpans

        return TriedSpans(self.tracer)

    def services(self, services: Services) -> Services:
        """The services, whose decisions and whose engine's answers are seen by spans."""
        from gateway.tracing.engine import TracedEngine
        from gateway.tracing.requests import TracedServices

        engine = TracedEngine(services.engine, self.tracer, self.provider)
        values = {field.name: getattr(services, field.name) for field in fields(services)}
        return TracedServices(**values | {"engine": engine})

    def app(self, app: Any, under: str = "/v1/") -> Any:
        """An app, whose requests to paths that begin with `under` are traced."""
        from gateway.tracing.requests import RequestSpans

        return RequestSpans(app, self.tracer, under)

    async def close(self, grace_s: float) -> None:
        """Send what waits to the collector, for a few of the grace seconds at most."""
        await self.exporting.close(min(grace_s, _FLUSH_S))


def open_tracing(settings: Settings, *, replica: str) -> Tracing | None:
    """None where the settings name no collector. `replica` is what traces call this process.
    Raises BadInput where a collector is named and the packages are not there."""
    if not settings.otel_endpoint:
        return None
    try:
        from gateway.tracing.otel import Exporting
    except ImportError as error:
        raise BadInput(
            f"setting otel_endpoint = {settings.otel_endpoint!r} asks for traces, and "
            f"{error.name} is not installed: pip install 'model-routing-gateway[otel]', or leave "
            "the setting (and OTEL_EXPORTER_OTLP_ENDPOINT) empty",
            param="otel_endpoint",
        ) from None
    exporting = Exporting(
        settings.otel_endpoint,
        service=settings.otel_service,
        replica=replica,
        share=settings.otel_share,
    )
    upstream = settings.engine == "upstream"
    return Tracing(exporting, settings.server_dialect if upstream else settings.otel_service)
