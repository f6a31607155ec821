"""The admin API under /admin/v1: what the CLI and other operators' tools speak to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import FastAPI, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from gateway import __version__
from gateway.api import answers, errors, health, shapes, telemetry
from gateway.api.artifact_admin import artifact_routes
from gateway.api.bodies import WholeBody
from gateway.api.callers import LiveKeys
from gateway.api.canary_admin import acknowledged, canary_routes
from gateway.api.described_keys import describe_keys
from gateway.api.guard_admin import guard_routes
from gateway.api.key_admin import key_routes
from gateway.api.limits import BodyLimits
from gateway.api.operators import AdminGate, Approving, Operating
from gateway.api.orders import (
    AddOrder,
    ApproveOrder,
    Order,
    ReasonedOrder,
    RollbackOrder,
    SwitchOffOrder,
    TableOrder,
)
from gateway.api.pulse import Pulse
from gateway.api.shown_routes import Routes
from gateway.api.stream_admin import stream_routes
from gateway.console import pages
from gateway.control.plane import ControlPlane
from gateway.engine.base import Engine
from gateway.guard.shadows import Shadows
from gateway.guard.watch import Watch
from gateway.probes.runner import ProbeRunner
from gateway.registry.base import AdapterRegistry
from gateway.routing.events import API_SOURCE, Event
from gateway.routing.table import AdapterRef

# What every log can count to: SQLite's and Redis's integers have 64 bits.
RevisionNumber = Annotated[int, Field(ge=0, le=2**63 - 1)]


def create_admin_app(
    plane: ControlPlane,
    registry: AdapterRegistry,
    engine: Engine,
    keys: LiveKeys,
    watch: Watch,
    shadows: Shadows,
    pulse: Pulse,
    probes: ProbeRunner,
    *,
    body: BodyLimits,
    require_keys: bool = False,
) -> FastAPI:
    """The app of port 8001. `require_keys`: also before the first operator key was made."""
    app = FastAPI(
        title="Model-routing gateway: admin",
        openapi_url="/admin/v1/openapi.json",
        responses=shapes.FAULTS,
        telemetry=telemetry.OFF,
    )
    errors.install(app)
    app.add_middleware(WholeBody, limits=body)
    app.add_middleware(AdminGate, keys=keys, required=require_keys)
    describe_keys(app, lambda path: True, "An operator key")
    app.include_router(key_routes(plane))
    app.include_router(artifact_routes(plane, registry))
    app.include_router(stream_routes(plane, keys, pulse))
    app.include_router(canary_routes(plane))
    app.include_router(guard_routes(watch, shadows, probes))

    outcome = partial(acknowledged, plane)

    @app.get("/admin/v1/routes")
    async def routes() -> Routes:
        """Every workflow of the live table: target, reason, override, and what the file says."""
        return Routes.of(plane, watch.promotion)

    @app.get("/admin/v1/revisions")
    async def revisions(
        before: RevisionNumber | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> answers.Revisions:
        """The revisions, newest first; `before` and `limit` page through them."""
        events = await plane.history(before=before, limit=limit)
        return answers.Revisions(
            revision=plane.table.revision,
            revisions=[answers.ShownEvent.of(event) for event in events],
        )

    @app.get("/admin/v1/revisions/{number}")
    async def revision(number: RevisionNumber) -> answers.Revision:
        """One revision: its event, the table after it, and what it changed."""
        event, before, after = await plane.table_at(number)
        return answers.Revision(
            event=answers.ShownEvent.of(event),
            table={name: answers.ShownDecision.of(d) for name, d in after.decisions.items()},
            changes=answers.differences(before.decisions, after.decisions),
        )

    @app.get("/admin/v1/audit")
    async def audit(
        after: RevisionNumber = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 1000
    ) -> answers.Records:
        """The log's records as they are stored, oldest first, with the chain's hashes."""
        return answers.Records(records=list(await plane.records(after=after, limit=limit)))

    @app.get("/admin/v1/diff")
    async def diff(a: RevisionNumber, b: RevisionNumber | None = None) -> answers.Difference:
        """What differs between revision `a` and revision `b` (default: the live table)."""
        _, _, first = await plane.table_at(a)
        second = plane.table if b is None else (await plane.table_at(b))[2]
        changes = answers.differences(first.decisions, second.decisions)
        return answers.Difference(from_=a, to=second.revision, changes=changes)

    @app.put("/admin/v1/table")
    async def put_table(
        order: TableOrder, who: Approving, dry_run: bool = False
    ) -> answers.Outcome:
        """Apply a routing table whole, or with `dry_run` say what it would change."""
        return answers.Outcome.of(
            await plane.apply_text(
                order.text, source=API_SOURCE, command=who.command(order), dry_run=dry_run
            )
        )

    @app.post("/admin/v1/workflows/{workflow}/disable")
    async def disable(workflow: str, order: SwitchOffOrder, who: Operating) -> answers.Outcome:
        """Send a workflow to its fallback until it is enabled again."""
        done = await plane.disable(
            workflow, who.command(order), in_flight=order.in_flight, local=order.local
        )
        return await outcome(done, order, workflow)

    @app.post("/admin/v1/workflows/{workflow}/enable")
    async def enable(workflow: str, order: Order, who: Operating) -> answers.Outcome:
        """Lift a disable."""
        return await outcome(await plane.enable(workflow, who.command(order)), order, workflow)

    @app.post("/admin/v1/workflows/{workflow}/resume")
    async def resume(workflow: str, order: Order, who: Operating) -> answers.Outcome:
        """Lift a rollback's pin, so that the file rules again; without one, begin an aborted
        canary again."""
        return await outcome(await plane.resume(workflow, who.command(order)), order, workflow)

    @app.post("/admin/v1/workflows/{workflow}/rollback")
    async def rollback(workflow: str, order: RollbackOrder, who: Operating) -> answers.Outcome:
        """Pin a workflow to its route at revision `to` (default: the last other route)."""
        done = await plane.rollback(
            workflow, who.command(order), to_revision=order.to, in_flight=order.in_flight
        )
        return await outcome(done, order, workflow)

    @app.get("/admin/v1/adapters")
    async def adapters() -> answers.Adapters:
        """Every whole adapter of the registry, with its state."""
        found = await asyncio.to_thread(registry.list)
        shown = [answers.ShownAdapter.of(plane, artifact) for artifact in found]
        return answers.Adapters(adapters=shown)

    @app.post("/admin/v1/adapters")
    async def add(order: AddOrder, who: Operating) -> answers.ShownAdapter:
        """Register a PEFT adapter folder on the gateway's disk, as a candidate."""
        command = who.command(order)
        artifact = await asyncio.to_thread(
            lambda: registry.add(
                order.folder,
                ref=AdapterRef.parse(order.ref),
                base_name=engine.info.model,
                base_fingerprint=engine.info.fingerprint,
                workflow=order.workflow,
                description=order.description,
            )
        )
        await plane.register(artifact, command)
        return answers.ShownAdapter.of(plane, artifact)

    @app.get("/admin/v1/adapters/{ref}")
    async def adapter(ref: str) -> answers.AdapterDetail:
        """One adapter, with the eval report it was published with."""
        artifact = await asyncio.to_thread(registry.get, AdapterRef.parse(ref))
        report = await asyncio.to_thread(registry.report, artifact.ref)
        return answers.AdapterDetail(**answers.adapter_fields(plane, artifact), report=report)

    @app.post("/admin/v1/adapters/{ref}/approve")
    async def approve(ref: str, order: ApproveOrder, who: Approving) -> answers.Outcome:
        """Let routes name an adapter whose gate passed, or any with `override`."""
        return answers.Outcome.of(
            await plane.approve(AdapterRef.parse(ref), who.command(order), override=order.override)
        )

    @app.post("/admin/v1/adapters/{ref}/revoke")
    async def revoke(ref: str, order: ReasonedOrder, who: Approving) -> answers.Outcome:
        """Take an adapter out of service; its routes go to their fallback."""
        return answers.Outcome.of(await plane.revoke(AdapterRef.parse(ref), who.command(order)))

    @app.get("/admin/v1/status")
    async def status() -> health.Status:
        """Engine, log, file, the fleet, and adapters that cannot be served."""
        return health.Status(
            version=__version__,
            replica=plane.replica,
            revision=plane.table.revision,
            engine=engine.info,
            stats=engine.stats(),
            routes_file=health.ShownFile.of(plane),
            unavailable_adapters={str(t): why for t, why in plane.unavailable.items()},
            log=health.ShownLog.of(plane),
            registry=plane.registry_error or "ok",
            ready=plane.not_ready or "ok",
            replicas=[health.ShownReplica.of(seen) for seen in await plane.fleet.known()],
            gates_overridden=[
                health.ShownGateOverride.of(each) for each in plane.state.gate_overrides.values()
            ],
            adapters_not_servable=await asyncio.to_thread(_not_servable, plane, registry),
        )

    @app.get(
        "/admin/v1/events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(
        last_event_id: Annotated[RevisionNumber | None, Header()] = None,
    ) -> StreamingResponse:
        """Revisions as server-sent events, from `Last-Event-ID` or from now on."""
        last = plane.table.revision if last_event_id is None else last_event_id

        async def lines() -> AsyncIterator[str]:
            # Subscribed before the past is read: an event may come twice, never not at all.
            live = plane.subscribe()
            seen = last
            following = asyncio.ensure_future(anext(live, None))
            try:
                for event in reversed(await plane.history(limit=1_000_000)):
                    if event.revision > seen:
                        seen = event.revision
                        yield _line(event)
                while (event_or_none := await following) is not None:
                    following = asyncio.ensure_future(anext(live, None))
                    if event_or_none.revision > seen:
                        seen = event_or_none.revision
                        yield _line(event_or_none)
            finally:
                following.cancel()

        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.get("/admin/v1/workflows/{workflow}/history")
    async def workflow_history(
        workflow: str, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> answers.Past:
        """What one workflow went to, newest first, and which of it a rollback may go back to."""
        steps = await plane.past_of(workflow)
        return answers.Past(
            workflow=workflow, steps=[answers.ShownStep.of(step) for step in steps[::-1][:limit]]
        )

    pages.mount(app)
    return app


def _line(event: Event) -> str:
    data = answers.ShownEvent.of(event).model_dump_json()
    return f"id: {event.revision}\ndata: {data}\n\n"


def _not_servable(plane: ControlPlane, registry: AdapterRegistry) -> list[health.NotServable]:
    """Adapters that are damaged on disk, or routed to and gone, with the workflows they are for.

    Blocks (disk). One that is on the device already is served on until the next start.
    """
    reasons = {str(ref): reason for ref, reason in registry.damaged().items()}
    workflows: dict[str, set[str]] = {}
    for name, decision in plane.table.decisions.items():
        for target in (decision.target, *decision.route.targets):
            if target.digest is None:
                continue
            workflows.setdefault(str(target), set()).add(name)
            if target.digest not in plane.artifacts:
                reasons.setdefault(str(target), "is routed to and not in the registry")
    return [
        health.NotServable(ref=ref, reason=reason, workflows=sorted(workflows.get(ref, ())))
        for ref, reason in sorted(reasons.items())
    ]
