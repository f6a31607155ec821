"""The composition root: settings to a running gateway of two HTTP servers on one event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI

from gateway import logs
from gateway.api.admin import create_admin_app
from gateway.api.answering import Services
from gateway.api.callers import LiveKeys
from gateway.api.inference import create_inference_app
from gateway.api.inflight import InFlight
from gateway.api.operators import check_admin_address, is_loopback
from gateway.api.pulse import Pulse
from gateway.api.server import Listener, check_tls
from gateway.control.plane import ControlPlane
from gateway.engine.base import Engine
from gateway.guard.feedback import RecentAnswers
from gateway.guard.shadows import Shadows
from gateway.guard.watch import Watch
from gateway.log.location import RedisLocation
from gateway.log.opening import open_log
from gateway.log.redis_evidence import RedisEvidence
from gateway.log.redis_register import RedisRegister
from gateway.metrics import Metrics
from gateway.model.source import resolve_model
from gateway.probes.reading import ProbeSets
from gateway.probes.runner import ProbeRunner
from gateway.process import say, settle, told_to_stop
from gateway.registry.base import AtHand
from gateway.registry.opening import open_registry
from gateway.settings import Settings
from gateway.tracing.opening import Tracing, open_tracing


class Gateway:
    """One running gateway. `ports` are known once `start` returned."""

    def __init__(self, settings: Settings) -> None:
        """Load the model. Raises GatewayError where it cannot be had or run."""
        self._settings = settings
        if settings.tls is not None:
            check_tls(settings.tls)
        self._tracing = open_tracing(settings, replica=settings.replica_name)
        self.registry = open_registry(
            settings.registry, cache=settings.registry_cache, cache_bytes=settings.cache_bound
        )
        self.engine = _engine(settings, self._tracing, self.registry.at_hand)
        self._sets = ProbeSets(settings.probes)
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
            probe_fault=self._sets.fault,
        )
        self.keys = LiveKeys(self.plane)
        self.watch: Watch | None = None  # from `start` on
        self.shadows: Shadows | None = None  # likewise
        self.probes: ProbeRunner | None = None  # likewise
        self.admin_app: FastAPI | None = None  # likewise
        self.pulse: Pulse | None = None  # likewise
        self._listeners: list[Listener] = []
        self.ports: tuple[int, int] = (0, 0)

    @property
    def scheme(self) -> str:
        """Of both ports."""
        return "http" if self._settings.tls is None else "https"

    async def start(self) -> None:
        """Serve. Raises TableRejected where routes.yaml is broken."""
        settings = self._settings
        await asyncio.to_thread(self.engine.start)
        try:
            await self.plane.start()
            if self.plane.not_ready is None:  # else it has no keys yet, and lets nobody in
                check_admin_address(settings.admin_host, self.keys.ring, str(settings.state))
        except BaseException:
            await self.plane.close()
            await self.engine.close()
            raise
        metrics, in_flight = Metrics(), InFlight()
        metrics.watch(self.plane, self.engine)
        self.plane.on_swap(in_flight.on_swap)
        self.watch = watch = Watch(
            self.plane,
            settings.guard_folder,
            metrics,
            trips_per_hour=settings.guard_trips_per_hour,
            pool=(
                RedisEvidence(settings.state) if isinstance(settings.state, RedisLocation) else None
            ),
        )
        await watch.start()
        self.shadows = shadows = Shadows(
            self.plane, self.engine, watch, metrics, settings.guard_folder
        )
        shadows.start()
        recent = RecentAnswers(settings.feedback.requests, settings.feedback.age_s)
        self.probes = probes = ProbeRunner(self.plane, self.engine, watch, metrics, self._sets)
        probes.start()
        services = Services(
            self.plane,
            self.engine,
            metrics,
            in_flight,
            watch,
            recent,
            shadows,
            settings.answer,
        )
        if self._tracing is not None:
            services = self._tracing.services(services)
        inference = create_inference_app(
            services,
            self.keys,
            body=settings.body,
            require_keys=settings.require_keys,
            feedback_comments=settings.feedback.comments,
        )
        self.pulse = Pulse(self.plane, self.engine, watch, metrics)
        self.admin_app = admin = create_admin_app(
            self.plane,
            self.registry,
            self.engine,
            self.keys,
            watch,
            shadows,
            self.pulse,
            probes,
            body=settings.body,
            require_keys=not is_loopback(settings.admin_host),
        )
        self.ports = (
            await self._listen(
                inference if self._tracing is None else self._tracing.app(inference),
                settings.host,
                settings.port,
            ),
            await self._listen(admin, settings.admin_host, settings.admin_port),
        )
        self.plane.announce(
            f"{self.scheme}://{settings.host}:{self.ports[0]}",
            f"{self.scheme}://{settings.admin_host}:{self.ports[1]}",
        )

    async def stop(self) -> None:
        """Take no more requests, let the running ones finish within the grace time, and end."""
        for listener in self._listeners:
            listener.take_no_more()
        self.plane.hang_up()
        if self.pulse is not None:
            self.pulse.end()
        if self.probes is not None:
            await self.probes.close()
        await self.engine.close(self._settings.grace_s)
        for listener in self._listeners:
            await listener.ended()
        if self.shadows is not None:
            await self.shadows.close()
        if self.watch is not None:
            await self.watch.close()
        await self.plane.close()
        if self._tracing is not None:
            await self._tracing.close(self._settings.grace_s)

    async def _listen(self, app: Any, host: str, port: int) -> int:
        settings = self._settings
        listener = Listener(
            app,
            host,
            port,
            limits=settings.connection,
            tls=settings.tls,
            grace_s=settings.grace_s,
        )
        self._listeners.append(listener)
        await listener.start()
        return listener.port


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises GatewayError for what stops a start."""
    logs.configure(settings.log_level)
    gateway = await asyncio.to_thread(Gateway, settings)
    stop = told_to_stop()
    await gateway.start()
    settle()
    inference, admin = gateway.ports
    say(f"serving {gateway.engine.info.model} on {gateway.engine.info.device}: ")
    scheme = gateway.scheme
    say(f"  inference {scheme}://{settings.host}:{inference}/v1")
    say(f"  admin     {scheme}://{settings.admin_host}:{admin}/admin/v1")
    say(f"  console   {scheme}://{settings.admin_host}:{admin}/console/")
    await stop.wait()
    say("stopping: running requests may finish")
    await gateway.stop()


def _engine(settings: Settings, tracing: Tracing | None, at_hand: AtHand) -> Engine:
    """The model in this process, or on servers."""
    files = resolve_model(settings.model, fingerprint_known=settings.fingerprint, progress=say)
    if settings.engine == "upstream":
        from gateway.engine.upstream.engine import UpstreamEngine

        return UpstreamEngine(
            files.path,
            name=files.name,
            fingerprint=files.fingerprint,
            options=settings.upstream,
            at_hand=at_hand,
            tries=None if tracing is None else tracing.tries(),
        )
    from gateway.engine.embedded.engine import EmbeddedEngine

    return EmbeddedEngine(
        files.path,
        name=files.name,
        fingerprint=files.fingerprint,
        options=settings.embedded,
        at_hand=at_hand,
    )
