"""The admin API under /admin/v1: what the CLI and other operators' tools speak to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway import __version__
from gateway.api import errors
from gateway.control.plane import Command, Committed, ControlPlane, DecisionChange
from gateway.engine.base import Engine
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from gateway.routing.events import API_SOURCE, Event
from gateway.routing.table import AdapterRef, Decision

_LOOPBACK = {"127.0.0.1", "localhost", "[::1]", "::1"}


class Order(BaseModel):
    """The body of a command."""

    model_config = ConfigDict(extra="forbid")
    actor: str = Field(
        default="operator", min_length=1, max_length=128, description="who gives the order"
    )
    reason: str = Field(default="", max_length=2000, description="why; kept in the log")
    expected_revision: int | None = Field(
        default=None, ge=0, description="the revision it was decided on; refused if the log moved"
    )

    def command(self, request: Request) -> Command:
        """The order as a command that remembers which address gave it."""
        address = request.client.host if request.client else ""
        return Command(self.actor, self.reason, self.expected_revision, address)


class ReasonedOrder(Order):
    """A command that must say why."""

    reason: str = Field(min_length=1, max_length=2000, description="why; kept in the log")


class DisableOrder(ReasonedOrder):
    """A switch-off."""

    in_flight: Literal["finish", "restart"] = Field(
        default="finish",
        description="what becomes of running requests: they finish, or start again on the new "
        "target (a stream that has sent a token ends with an error event)",
    )


class RollbackOrder(DisableOrder):
    """A return to an earlier route."""

    to: int | None = Field(default=None, ge=1, description="the revision to go back to")


class TableOrder(Order):
    """A routing table."""

    text: str = Field(description="the whole text, as in routes.yaml")


class AddOrder(BaseModel):
    """A new adapter."""

    model_config = ConfigDict(extra="forbid")
    folder: Path = Field(description="the PEFT adapter's folder on the gateway's disk")
    ref: str = Field(description="name@version")
    workflow: str = Field(default="", description="the workflow it is made for")
    description: str = Field(default="", description="what it is, in a line")


def create_admin_app(plane: ControlPlane, registry: Registry, engine: Engine) -> FastAPI:
    """The app of port 8001."""
    app = FastAPI(title="Model-routing gateway: admin", openapi_url="/admin/v1/openapi.json")
    errors.install(app)

    @app.middleware("http")
    async def same_site(request: Request, call_next: Any) -> Response:
        # A page in the operator's browser can reach loopback: it must not be able to give orders.
        host = (request.headers.get("host") or "").rsplit(":", 1)[0]
        bound = (request.scope.get("server") or ("",))[0]
        origin = request.headers.get("origin")
        if host not in _LOOPBACK | {bound} or (
            origin is not None and origin.split("://")[-1] != request.headers.get("host")
        ):
            body = {"message": "this host or origin is not served", "type": "invalid_request_error"}
            return JSONResponse({"error": {**body, "param": None, "code": "foreign_origin"}}, 403)
        response: Response = await call_next(request)
        return response

    @app.get("/admin/v1/routes")
    async def routes() -> dict[str, Any]:
        """Every workflow of the live table: target, reason, override, and what the file says."""
        table = plane.table
        workflows = {name: _route_status(plane, d) for name, d in table.decisions.items()}
        return {"revision": table.revision, "workflows": workflows}

    @app.get("/admin/v1/revisions")
    async def revisions(
        before: int | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> dict[str, Any]:
        """The revisions, newest first; `before` and `limit` page through them."""
        events = await plane.history(before=before, limit=limit)
        return {"revision": plane.table.revision, "revisions": [event_json(e) for e in events]}

    @app.get("/admin/v1/revisions/{number}")
    async def revision(number: int) -> dict[str, Any]:
        """One revision: its event, the table after it, and what it changed."""
        event, before, after = await plane.table_at(number)
        return {
            "event": event_json(event),
            "table": {name: _decision(d) for name, d in after.decisions.items()},
            "changes": _differences(before.decisions, after.decisions),
        }

    @app.get("/admin/v1/diff")
    async def diff(a: int, b: int | None = None) -> dict[str, Any]:
        """What differs between revision `a` and revision `b` (default: the live table)."""
        _, _, first = await plane.table_at(a)
        second = plane.table if b is None else (await plane.table_at(b))[2]
        changes = _differences(first.decisions, second.decisions)
        return {"from": a, "to": second.revision, "changes": changes}

    @app.put("/admin/v1/table")
    async def put_table(
        order: TableOrder, request: Request, dry_run: bool = False
    ) -> dict[str, Any]:
        """Apply a routing table whole, or with `dry_run` say what it would change."""
        return committed_json(
            await plane.apply_text(
                order.text, source=API_SOURCE, command=order.command(request), dry_run=dry_run
            )
        )

    @app.post("/admin/v1/workflows/{workflow}/disable")
    async def disable(workflow: str, order: DisableOrder, request: Request) -> dict[str, Any]:
        """Send a workflow to its fallback until it is enabled again."""
        done = await plane.disable(workflow, order.command(request), in_flight=order.in_flight)
        return committed_json(done)

    @app.post("/admin/v1/workflows/{workflow}/enable")
    async def enable(workflow: str, order: Order, request: Request) -> dict[str, Any]:
        """Lift a disable."""
        return committed_json(await plane.enable(workflow, order.command(request)))

    @app.post("/admin/v1/workflows/{workflow}/resume")
    async def resume(workflow: str, order: Order, request: Request) -> dict[str, Any]:
        """Lift a rollback's pin: the file rules again."""
        return committed_json(await plane.resume(workflow, order.command(request)))

    @app.post("/admin/v1/workflows/{workflow}/rollback")
    async def rollback(workflow: str, order: RollbackOrder, request: Request) -> dict[str, Any]:
        """Pin a workflow to its route at revision `to` (default: the last other route)."""
        return committed_json(
            await plane.rollback(
                workflow, order.command(request), to_revision=order.to, in_flight=order.in_flight
            )
        )

    @app.get("/admin/v1/adapters")
    async def adapters() -> dict[str, Any]:
        """Every whole adapter of the registry, with its state."""
        found = await asyncio.to_thread(registry.list)
        return {"adapters": [_adapter(plane, artifact) for artifact in found]}

    @app.post("/admin/v1/adapters")
    async def add(order: AddOrder) -> dict[str, Any]:
        """Register a PEFT adapter folder on the gateway's disk, as a candidate."""
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
        return _adapter(plane, artifact)

    @app.get("/admin/v1/adapters/{ref}")
    async def adapter(ref: str) -> dict[str, Any]:
        """One adapter, with the eval report it was published with."""
        artifact = await asyncio.to_thread(registry.get, AdapterRef.parse(ref))
        report = await asyncio.to_thread(registry.report, artifact.ref)
        return {**_adapter(plane, artifact), "report": report}

    @app.post("/admin/v1/adapters/{ref}/approve")
    async def approve(ref: str, order: Order, request: Request) -> dict[str, Any]:
        """Let routes name an adapter."""
        return committed_json(await plane.approve(AdapterRef.parse(ref), order.command(request)))

    @app.post("/admin/v1/adapters/{ref}/revoke")
    async def revoke(ref: str, order: ReasonedOrder, request: Request) -> dict[str, Any]:
        """Take an adapter out of service; its routes go to their fallback."""
        return committed_json(await plane.revoke(AdapterRef.parse(ref), order.command(request)))

    @app.get("/admin/v1/status")
    async def status() -> dict[str, Any]:
        """Engine, log, file, and adapters that cannot be served."""
        file = plane.file_status
        return {
            "version": __version__,
            "revision": plane.table.revision,
            "engine": asdict(engine.info),
            "stats": asdict(engine.stats()),
            "routes_file": {
                "path": str(file.path),
                "ok": file.ok,
                "problems": [asdict(problem) for problem in file.problems],
                "loaded_at": file.loaded_at,
                # False where a table that was applied over this API lies above the file.
                "in_force": plane.state.table_digest == plane.state.file_digest,
            },
            # Adapters that routes name and this process cannot have; their fallbacks answer.
            "unavailable_adapters": {str(t): why for t, why in plane.unavailable.items()},
            "log": {"ok": plane.log_error is None, "error": plane.log_error},
            "adapters_not_servable": await asyncio.to_thread(_not_servable, plane, registry),
        }

    @app.get("/admin/v1/events")
    async def events(request: Request) -> StreamingResponse:
        """Revisions as server-sent events, from `Last-Event-ID` or from now on."""
        last = int(request.headers.get("last-event-id") or plane.table.revision)

        async def lines() -> AsyncIterator[str]:
            # Subscribed before the past is read: an event may come twice, never not at all.
            live = plane.subscribe()
            seen = last
            following = asyncio.ensure_future(anext(live, None))
            try:
                for event in reversed(await plane.history(limit=1_000_000)):
                    if event.revision > seen:
                        seen = event.revision
                        yield _sse(event)
                while (event_or_none := await following) is not None:
                    following = asyncio.ensure_future(anext(live, None))
                    if event_or_none.revision > seen:
                        seen = event_or_none.revision
                        yield _sse(event_or_none)
            finally:
                following.cancel()

        return StreamingResponse(lines(), media_type="text/event-stream")

    return app


def event_json(event: Event) -> dict[str, Any]:
    """An event as the API shows it."""
    return {
        "revision": event.revision,
        "kind": event.change.kind,
        "actor": event.actor,
        "reason": event.reason,
        "at": event.at,
        "origin": event.origin,
        "hash": event.hash,
        "change": asdict(event.change),
    }


def committed_json(done: Committed) -> dict[str, Any]:
    """The outcome of a command."""
    return {
        "revision": done.revision,
        "event": None if done.event is None else event_json(done.event),
        "changes": [_change(change) for change in done.changes],
    }


def _sse(event: Event) -> str:
    return f"id: {event.revision}\ndata: {json.dumps(event_json(event), ensure_ascii=False)}\n\n"


def _decision(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "target": str(decision.target),
        "reason": decision.reason,
        "fallback": str(decision.route.fallback),
    }


def _change(change: DecisionChange) -> dict[str, Any]:
    return {
        "workflow": change.workflow,
        "before": _decision(change.before),
        "after": _decision(change.after),
    }


def _differences(before: Any, after: Any) -> list[dict[str, Any]]:
    changes = []
    for name in sorted({*before, *after}):
        old, new = _decision(before.get(name)), _decision(after.get(name))
        if old != new:
            changes.append({"workflow": name, "before": old, "after": new})
    return changes


def _route_status(plane: ControlPlane, decision: Decision) -> dict[str, Any]:
    state = plane.state
    hand = state.overrides.get(decision.workflow)
    in_file = state.routes.get(decision.workflow)
    override: dict[str, Any] | None = None
    if hand is not None:
        override = {}
        if hand.disabled is not None:
            override["disabled"] = asdict(hand.disabled)
        if hand.pinned is not None:
            override["pinned"] = {
                "revision": hand.pinned.revision,
                "actor": hand.pinned.actor,
                "reason": hand.pinned.reason,
                "at": hand.pinned.at,
                "to_revision": hand.pinned.to_revision,
            }
    file_target = None if in_file is None else str(in_file.target)
    return {
        **(_decision(decision) or {}),
        "why": decision.why or None,
        "override": override,
        "file_target": file_target,
        "differs": file_target is not None and file_target != str(decision.target),
        "description": decision.route.description,
    }


def _not_servable(plane: ControlPlane, registry: Registry) -> list[dict[str, Any]]:
    """Adapters that are damaged on disk, or routed to and gone, with the workflows they are for.

    Blocks (disk). One that is on the device already is served on until the next start.
    """
    reasons = {str(ref): reason for ref, reason in registry.damaged().items()}
    workflows: dict[str, set[str]] = {}
    for name, decision in plane.table.decisions.items():
        for target in (decision.target, decision.route.target, decision.route.fallback):
            if target.digest is None:
                continue
            workflows.setdefault(str(target), set()).add(name)
            if target.digest not in plane.artifacts:
                reasons.setdefault(str(target), "is routed to and not in the registry")
    return [
        {"ref": ref, "reason": reason, "workflows": sorted(workflows.get(ref, ()))}
        for ref, reason in sorted(reasons.items())
    ]


def _adapter(plane: ControlPlane, artifact: AdapterArtifact) -> dict[str, Any]:
    return {
        "ref": str(artifact.ref),
        "digest": artifact.digest,
        "state": plane.adapter_state(artifact),
        "rank": artifact.rank,
        "size_bytes": artifact.size_bytes,
        "base": artifact.base_name,
        "base_fingerprint": artifact.base_fingerprint,
        "workflow": artifact.workflow,
        "created_at": artifact.created_at,
        "description": artifact.description,
    }
