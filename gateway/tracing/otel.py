"""OpenTelemetry's SDK, set up: spans leave in batches, by a thread of their own.

The only file that makes the SDK. A request never waits for a collector: its spans go to a bounded
queue, and what does not fit there is dropped.
"""

from __future__ import annotations

import asyncio
import os
import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

import gateway

_QUEUE = 4096  # spans that wait for the collector
_BATCH = 512
_DELAY_S = 2.0  # between two batches
_TIMEOUT_S = 5.0  # of one batch, its repetitions included
_PATH = "/v1/traces"


class Exporting:
    """A tracer, and the way to the collector at `endpoint` (its base address, or the whole one).

    What is sent with it (`OTEL_EXPORTER_OTLP_HEADERS`, `…_CERTIFICATE` and so on) and
    `OTEL_RESOURCE_ATTRIBUTES` are the SDK's own to read.
    """

    def __init__(self, endpoint: str, *, service: str, replica: str, share: float) -> None:
        named = {"service.instance.id": replica, "service.version": gateway.__version__}
        if "OTEL_SERVICE_NAME" not in os.environ:
            named["service.name"] = service
        self._exporter = OTLPSpanExporter(endpoint=_traces(endpoint), timeout=_TIMEOUT_S)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=Resource.create(named),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=_QUEUE,
                max_export_batch_size=_BATCH,
                schedule_delay_millis=_DELAY_S * 1e3,
            )
        )
        self.tracer: Tracer = self._provider.get_tracer("gateway", gateway.__version__)

    async def close(self, limit_s: float) -> None:
        """Send what waits, for at most `limit_s` seconds."""
        # Not of the loop's own threads: the process would wait for one that hangs.
        sending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, limit_s)
        if sending.is_alive():  # a repetition under way ends
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _traces(endpoint: str) -> str:
    """The address that takes traces."""
    base = endpoint.rstrip("/")
    return base if base.endswith(_PATH) else base + _PATH
