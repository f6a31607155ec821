"""The engine as requests see it, with a span around each thing that is asked of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from gateway.engine.base import (
    Delta,
    Engine,
    EngineInfo,
    EngineStats,
    FinishReason,
    GenerationRequest,
    TextCodec,
    TokenStream,
)
from gateway.errors import GatewayError
from gateway.registry.values import AdapterArtifact
from gateway.tracing import names
from gateway.tracing.requests import Traced, current


class TracedEngine:
    """An `Engine` that asks another. `provider`: what runs the model, as traces name it."""

    def __init__(self, engine: Engine, tracer: Tracer, provider: str) -> None:
        self._engine = engine
        self._tracer = tracer
        self._provider = provider

    def generate(self, request: GenerationRequest) -> TokenStream:
        """See `Engine.generate`. What no request asks for is not traced."""
        traced = current.get()
        if traced is None or request.background:
            return self._engine.generate(request)
        traced.attempts += 1
        adapter = request.adapter
        model = self._engine.info.model if adapter is None else str(adapter.ref)
        span = self._tracer.start_span(
            f"{traced.operation} {model}",
            kind=SpanKind.INTERNAL,  # the tries on servers, if there are any, are its children
            attributes={
                names.PROVIDER: self._provider,
                **_asked(request, traced, model),
            },
        )
        attached = context.attach(trace.set_span_in_context(span))
        try:
            stream = self._engine.generate(request)
        except GatewayError as error:
            _fail(span, traced, error.code)
            span.end()
            raise
        finally:
            context.detach(attached)
        return _TracedStream(stream, span, traced, model, request.n)

    # The rest is the other engine's.

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def text(self) -> TextCodec:
        return self._engine.text

    def start(self) -> None:
        self._engine.start()

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        self._engine.check_schema(schema)

    def check_adapter(self, adapter: AdapterArtifact) -> None:
        self._engine.check_adapter(adapter)

    async def make_resident(self, adapter: AdapterArtifact) -> None:
        await self._engine.make_resident(adapter)

    def set_pinned(self, digests: Collection[str]) -> None:
        self._engine.set_pinned(digests)

    def stats(self) -> EngineStats:
        return self._engine.stats()

    async def close(self, grace_s: float = 0.0) -> None:
        await self._engine.close(grace_s)


class _TracedStream:
    """A `TokenStream` whose span ends with it: at its last delta, its error, or its cancelling."""

    def __init__(
        self, stream: TokenStream, span: Span, traced: Traced, model: str, choices: int
    ) -> None:
        self._stream = stream
        self._span = span
        self._traced = traced
        self._model = model
        self._began = time.monotonic()
        self._tokens = 0
        self._finished: list[FinishReason | None] = [None] * choices
        self._ended = False

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas()

    async def _deltas(self) -> AsyncIterator[Delta]:
        try:
            async for delta in self._stream:
                if not self._tokens and delta.token_ids:
                    self._span.set_attribute(names.FIRST_CHUNK, time.monotonic() - self._began)
                self._tokens += len(delta.token_ids)
                if delta.finish is not None:
                    self._finished[delta.index] = delta.finish
                    if None not in self._finished:
                        self._traced.error = ""
                        self._end()
                yield delta
        except GatewayError as error:
            _fail(self._span, self._traced, error.code)
            self._end(failed=True)
            raise
        finally:
            self._end()

    def cancel(self) -> None:
        self._stream.cancel()
        self._end()

    def _end(self, *, failed: bool = False) -> None:
        if self._ended:
            return
        self._ended = True
        span = self._span
        if not failed:
            said = [one or FinishReason.CANCELLED for one in self._finished]
            span.set_attribute(names.FINISH, [one.value for one in said])
        if self._tokens or None not in self._finished:
            span.set_attribute(names.RESPONSE_MODEL, self._model)
        span.set_attribute(names.OUTPUT_TOKENS, self._tokens)
        span.end()


def _asked(request: GenerationRequest, traced: Traced, model: str) -> dict[str, Any]:
    """What is asked, without a word of it."""
    sampling, decision = request.sampling, traced.decision
    structured = sampling.json_schema is not None or sampling.json_object
    said: dict[str, Any] = {
        names.OPERATION: traced.operation,
        names.REQUEST_MODEL: model,
        names.MAX_TOKENS: sampling.max_tokens,
        names.TEMPERATURE: sampling.temperature,
        names.TOP_P: sampling.top_p,
        names.OUTPUT: "json" if structured else "text",
        names.INPUT_TOKENS: len(request.prompt),
        names.REQUEST_ID: request.request_id,
        names.TARGET: "base" if request.adapter is None else model,
        names.ATTEMPT: traced.attempts,
    }
    if request.n != 1:
        said[names.CHOICES] = request.n
    if sampling.seed is not None:
        said[names.SEED] = sampling.seed
    if decision is not None:
        said |= {names.WORKFLOW: decision.workflow, names.REVISION: decision.revision}
    return said


def _fail(span: Span, traced: Traced, code: str) -> None:
    traced.error = code
    span.set_attribute(names.ERROR, code)
    span.set_status(StatusCode.ERROR)
