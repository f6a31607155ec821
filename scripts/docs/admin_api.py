"""The reference of the admin API, from the app's own OpenAPI description."""

from __future__ import annotations

from pathlib import Path

from gateway.api.admin import create_admin_app
from gateway.api.callers import LiveKeys
from gateway.api.pulse import Pulse
from gateway.guard.shadows import Shadows
from gateway.guard.watch import Watch
from gateway.metrics import Metrics
from gateway.probes.reading import ProbeSets
from gateway.probes.runner import ProbeRunner
from gateway.settings import Settings
from scripts.docs.openapi import Description, as_json, bodies, endpoints
from scripts.docs.parts import parts

_SCHEMA = "admin-openapi.json"


def description() -> Description:
    """The OpenAPI description that `/admin/v1/openapi.json` answers."""
    with parts() as made:
        metrics = Metrics()
        watch = Watch(made.plane, Path(), metrics)
        app = create_admin_app(
            made.plane,
            made.registry,
            made.engine,
            LiveKeys(made.plane),
            watch,
            Shadows(made.plane, made.engine, watch, metrics, Path()),
            Pulse(made.plane, made.engine, watch, metrics),
            ProbeRunner(made.plane, made.engine, watch, metrics, ProbeSets(Path())),
            body=Settings().body,
        )
        return app.openapi()


def openapi_json() -> str:
    """The description as the file beside the page."""
    return as_json(description())


def page() -> str:
    """Every endpoint and every body."""
    found = description()
    return "\n".join(
        [
            "# The admin API\n",
            "At the admin port (`--admin-port`, 8001), on loopback. It describes itself at\n"
            f"`/admin/v1/openapi.json`; the same is in [{_SCHEMA}]({_SCHEMA}). An error is\n"
            '`{"error": {"message", "type", "param", "code"}}`; a rejected table also lists\n'
            "`problems` with file, line, column and field.\n",
            endpoints(found),
            bodies(found),
        ]
    )
