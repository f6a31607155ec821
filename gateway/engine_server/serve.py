"""The composition root of an engine server: settings to a warm model on one port."""

from __future__ import annotations

import asyncio

from gateway import logs
from gateway.api.server import Listener, check_tls
from gateway.engine.base import Engine, GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine_server.app import EngineApp
from gateway.engine_server.options import EngineServing
from gateway.model.source import resolve_model
from gateway.process import say, settle, told_to_stop
from gateway.tracing.opening import Tracing

_TRACED = "/v1/completions"  # not what gateways ask every two seconds


class EngineServer:
    """One running server. `port` is known once `start` returned."""

    def __init__(self, serving: EngineServing, tracing: Tracing | None = None) -> None:
        """Load the model. Raises GatewayError where it cannot be had or run."""
        if serving.tls is not None:
            check_tls(serving.tls)
        files = resolve_model(serving.model, progress=say)
        self.engine = EmbeddedEngine(
            files.path, name=files.name, fingerprint=files.fingerprint, options=serving.options
        )
        self._grace_s = serving.grace_s
        self._tracing = tracing
        self._app = EngineApp(
            self.engine,
            adapters=serving.adapters,
            key=serving.key,
            body=serving.body,
        )
        self._listener = Listener(
            self._app.asgi if tracing is None else tracing.app(self._app.asgi, _TRACED),
            serving.host,
            serving.port,
            limits=serving.connection,
            tls=serving.tls,
            grace_s=serving.grace_s,
        )

    @property
    def port(self) -> int:
        return self._listener.port

    async def start(self) -> None:
        """Warm the engine, then listen: whoever gets a connection gets an answer. Raises OSError
        where the port cannot be had."""
        await asyncio.to_thread(self.engine.start)
        try:
            await _warm_up(self.engine)
            await self._listener.start()
        except BaseException:
            await self.engine.close()
            raise

    async def stop(self) -> None:
        """Take no more requests, let the running ones finish within the grace time, and end."""
        self._app.drain()
        self._listener.take_no_more()
        await self.engine.close(self._grace_s)
        await self._listener.ended()
        if self._tracing is not None:
            await self._tracing.close(self._grace_s)


async def run(serving: EngineServing, tracing: Tracing | None) -> None:
    """Serve until SIGTERM or SIGINT. Raises GatewayError for what stops a start."""
    logs.configure(serving.log_level)
    server = await asyncio.to_thread(EngineServer, serving, tracing)
    stop = told_to_stop()
    await server.start()
    settle()
    info, scheme = server.engine.info, "http" if serving.tls is None else "https"
    say(f"serving {info.model} on {info.device} for gateways:")
    say(f"  engine    {scheme}://{serving.host}:{server.port}/v1")
    await stop.wait()
    say("stopping: running requests may finish")
    await server.stop()


async def _warm_up(engine: Engine) -> None:
    """One short answer: the first one pays for what is made at its first use."""
    token = engine.text.encode("a")[:1] or [0]
    request = GenerationRequest("warm-up", tuple(token), SamplingParams(max_tokens=2))
    async for _ in engine.generate(request):
        pass
