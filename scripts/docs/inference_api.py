"""The reference of the inference API, from the app's own OpenAPI description."""

from __future__ import annotations

from pathlib import Path

from gateway.api.answering import Services
from gateway.api.callers import LiveKeys
from gateway.api.inference import create_inference_app
from gateway.api.inflight import InFlight
from gateway.guard.feedback import RecentAnswers
from gateway.guard.shadows import Shadows
from gateway.guard.watch import Watch
from gateway.metrics import Metrics
from gateway.settings import Settings
from scripts.docs.openapi import Description, as_json, bodies, endpoints
from scripts.docs.parts import parts

_SCHEMA = "inference-openapi.json"


def description() -> Description:
    """The OpenAPI description that `/openapi.json` answers."""
    with parts() as made:
        services = Services(
            made.plane,
            made.engine,
            metrics := Metrics(),
            InFlight(),
            watch := Watch(made.plane, Path(), metrics),
            RecentAnswers(0, 0.0),
            Shadows(made.plane, made.engine, watch, metrics, Path()),
        )
        app = create_inference_app(services, LiveKeys(made.plane), body=Settings().body)
        return app.openapi()


def openapi_json() -> str:
    """The description as the file beside the page."""
    return as_json(description())


def page() -> str:
    """Every endpoint and every body."""
    found = description()
    return "\n".join(
        [
            "# The inference API\n",
            "At the inference port (`--port`, 8000): the OpenAI API, with the workflow as\n"
            "`model`. The official `openai` client works with it unmodified. It describes itself\n"
            f"at `/openapi.json`; the same is in [{_SCHEMA}]({_SCHEMA}). A field that is not\n"
            "listed here is refused by name with 400, never ignored.\n",
            "Each answer says in its headers what was decided: `x-request-id`,\n"
            "`x-gateway-workflow`, `x-gateway-target` (`base` or `name@version`),\n"
            "`x-gateway-revision` and `x-gateway-reason`. `x-gateway-fallback` lists the targets\n"
            "that failed the request before (`on_error` of its route), with the error's class.\n"
            "Errors are OpenAI error objects.\n",
            endpoints(found),
            bodies(found),
        ]
    )
