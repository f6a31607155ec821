"""The composition root: settings to a running gateway of two HTTP servers on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import uvicorn
from fastapi import FastAPI

from gateway import logs
from gateway.api.admin import create_admin_app
from gateway.api.answering import Services
from gateway.api.callers import LiveKeys
from gateway.api.inference import create_inference_app
from gateway.api.inflight import InFlight
from gateway.api.operators import check_admin_address, is_loopback
from gateway.control.plane import ControlPlane
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.log.location import RedisLocation
from gateway.log.opening import open_log
from gateway.log.redis_register import RedisRegister
from gateway.metrics import Metrics
from gateway.model.source import resolve_model
from gateway.registry.store import Registry
from gateway.settings import Settings


class Gateway:
    """One running gateway. `ports` are known once `start` returned."""

    def __init__(self, settings: Settings) -> None:
        """Load the model. Raises GatewayError where it cannot be had or run."""
        self._settings = settings
        files = resolve_model(settings.model, progress=_say)
        self.engine = EmbeddedEngine(
            files.path, name=files.name, fingerprint=files.fingerprint, options=settings.engine
        )
        self.registry = Registry(settings.registry)
        self.plane = ControlPlane(
            open_log(settings.state),
            self.registry,
            self.engine,
            settings.routes,
            replica=settings.replica_name,
            two_person=settings.two_person,
            local=settings.copy_folder,
            register=(
                RedisRegister(settings.state) if isinstance(settings.state, RedisLocation) else None
            ),
        )
        self.keys = LiveKeys(self.plane)
        self.admin_app: FastAPI | None = None  # from `start` on
        self._servers: list[uvicorn.Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.ports: tuple[int, int] = (0, 0)

    async def start(self) -> None:
        """Serve. Raises TableRejected where routes.yaml is broken."""
        settings = self._settings
        await asyncio.to_thread(self.engine.start)
        try:
            await self.plane.start()
            check_admin_address(settings.admin_host, self.keys.ring, str(settings.state))
        except BaseException:
            await self.plane.close()
            await self.engine.close()
            raise
        metrics, in_flight = Metrics(), InFlight()
        metrics.watch(self.plane, self.engine)
        self.plane.on_swap(in_flight.on_swap)
        services = Services(self.plane, self.engine, metrics, in_flight)
        inference = create_inference_app(
            services,
            self.keys,
            body_limit_bytes=settings.body_limit_bytes,
            require_keys=settings.require_keys,
        )
        self.admin_app = admin = create_admin_app(
            self.plane,
            self.registry,
            self.engine,
            self.keys,
            body_limit_bytes=settings.body_limit_bytes,
            require_keys=not is_loopback(settings.admin_host),
        )
        self.ports = (
            await self._serve(inference, settings.host, settings.port),
            await self._serve(admin, settings.admin_host, settings.admin_port),
        )
        self.plane.announce(
            f"http://{settings.host}:{self.ports[0]}",
            f"http://{settings.admin_host}:{self.ports[1]}",
        )

    async def stop(self) -> None:
        """Take no more requests, let the running ones finish within the grace time, and end."""
        for server in self._servers:
            server.should_exit = True
        drained = asyncio.create_task(self.engine.close(self._settings.grace_s))
        await drained
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.plane.close()

    async def _serve(self, app: FastAPI, host: str, port: int) -> int:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(self._settings.grace_s) + 5,
        )
        server = _Server(config)
        self._servers.append(server)
        task = asyncio.create_task(server.serve())
        self._tasks.append(task)
        while not server.started:
            if task.done():
                task.result()
                raise OSError(f"{host}:{port} cannot be served")
            await asyncio.sleep(0.01)
        bound: int = server.servers[0].sockets[0].getsockname()[1]
        return bound


class _Server(uvicorn.Server):
    """Signals are the gateway's, not each server's."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises GatewayError for what stops a start."""
    logs.configure(settings.log_level)
    gateway = await asyncio.to_thread(Gateway, settings)
    # Before anybody is told that it serves: a stop may follow on the word.
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await gateway.start()
    inference, admin = gateway.ports
    _say(f"serving {gateway.engine.info.model} on {gateway.engine.info.device}: ")
    _say(f"  inference http://{settings.host}:{inference}/v1")
    _say(f"  admin     http://{settings.admin_host}:{admin}/admin/v1")
    await stop.wait()
    _say("stopping: running requests may finish")
    await gateway.stop()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
