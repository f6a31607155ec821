"""The admin API's live stream: what `pulse.py` tells, to one watcher, for as long as its key is
good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from gateway import __version__
from gateway.access.values import Role
from gateway.api.answers import Shown
from gateway.api.callers import LiveKeys
from gateway.api.operators import Orderer
from gateway.api.pulse import Message, Pulse
from gateway.control.plane import ControlPlane

STREAM = "/admin/v1/stream"


class Hello(Shown):
    """The first message: who answers, and what the watcher may do."""

    version: str
    started: float = Field(description="when this process began, in seconds since the epoch")
    replica: str
    revision: int
    key: str | None = Field(description="the name of the key; null where none is asked for")
    role: Role = Field(description="what it may do; on an open loopback everything")


def stream_routes(plane: ControlPlane, keys: LiveKeys, pulse: Pulse) -> APIRouter:
    """The route of the live stream."""
    router = APIRouter()

    def hello(orderer: Orderer) -> Message:
        operator = orderer.operator
        said = Hello(
            version=__version__,
            started=pulse.started,
            replica=plane.replica,
            revision=plane.table.revision,
            key=None if operator is None else operator.key.name,
            role=Role.APPROVER if operator is None else operator.grant.role,
        )
        return Message("hello", said.model_dump_json())

    @router.get(
        STREAM,
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def stream(request: Request) -> StreamingResponse:
        """What happens, as server-sent events without an end: `hello` first (version, replica,
        the key's role), `moved` (a revision and what it changed), `table` (ask for the routes
        again), and each second `rates` (requests a second by workflow and target, of this replica
        alone), `health` (log, file, engine, fleet) and `guard` (guards that saw something new)."""
        orderer: Orderer = request.state.orderer

        async def lines() -> AsyncIterator[str]:
            yield str(hello(orderer))
            async with aclosing(pulse.messages()) as messages:
                async for message in messages:
                    if not orderer.still_let_in(keys):
                        return
                    yield str(message)

        return StreamingResponse(
            lines(), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    return router
