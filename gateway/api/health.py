"""How a gateway and its fleet are, as the admin API tells it: status, and what the live stream
repeats of it."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import Field

from gateway.access.values import Mark
from gateway.api.answers import Shown
from gateway.control.fleet import Seen
from gateway.control.plane import ControlPlane
from gateway.engine.base import EngineInfo, EngineStats
from gateway.errors import Problem
from gateway.registry.values import GateVerdict
from gateway.routing.fold import GateOverride


class ShownGateOverride(Shown):
    """An adapter that is approved in spite of its gate."""

    ref: str
    gate: GateVerdict = Field(description="what the gate had said")
    by: Mark = Field(description="who approved it all the same, and why")

    @classmethod
    def of(cls, override: GateOverride) -> ShownGateOverride:
        return cls(ref=str(override.ref), gate=override.gate, by=override.by)


class ShownFile(Shown):
    """How the last reading of routes.yaml went."""

    path: str
    ok: bool
    problems: list[Problem]
    loaded_at: float
    in_force: bool = Field(
        description="false where a table that was applied over this API lies above the file"
    )

    @classmethod
    def of(cls, plane: ControlPlane) -> ShownFile:
        file = plane.file_status
        return cls(
            path=str(file.path),
            ok=file.ok,
            problems=list(file.problems),
            loaded_at=file.loaded_at,
            in_force=plane.state.table_digest == plane.state.file_digest,
        )


class ShownLog(Shown):
    """Whether the log could be reached last time."""

    ok: bool
    error: str | None
    stale_seconds: float = Field(description="how long it has not been heard of; 0 while it is ok")
    copy_error: str | None = Field(description="why this replica's copy of the log is behind")
    owed: int = Field(description="orders that this replica obeys and the log has not got yet")

    @classmethod
    def of(cls, plane: ControlPlane) -> ShownLog:
        return cls(
            ok=plane.log_error is None,
            error=plane.log_error,
            stale_seconds=round(plane.stale_seconds, 3),
            copy_error=plane.copy_error,
            owed=len(plane.owed),
        )


class ShownWait(Shown):
    """A workflow whose new route waits for its adapter on a replica."""

    target: str
    since: int = Field(description="the revision that asked for it")
    error: str | None = Field(description="why the adapter cannot be held; null while it loads")


class ShownReplica(Shown):
    """One gateway that shares the log, as it last said of itself."""

    replica: str
    live: bool
    seen_s: float = Field(description="seconds since it was last heard of")
    revision: int
    inference: str
    admin: str
    started: float = Field(description="seconds since the epoch, by its own clock")
    pending: dict[str, ShownWait] = Field(description="by workflow")

    @classmethod
    def of(cls, seen: Seen) -> ShownReplica:
        pending = {name: ShownWait(**asdict(w)) for name, w in seen.beat.pending.items()}
        fields = {**asdict(seen.beat), "pending": pending}
        return cls(live=seen.live, seen_s=round(seen.age_s, 3), **fields)


class NotServable(Shown):
    """An adapter that is damaged on disk, or routed to and gone."""

    ref: str
    reason: str
    workflows: list[str]


class Status(Shown):
    """Engine, log, file, and adapters that cannot be served."""

    version: str
    replica: str = Field(description="the name of this gateway among the replicas")
    revision: int
    engine: EngineInfo
    stats: EngineStats
    routes_file: ShownFile
    unavailable_adapters: dict[str, str] = Field(
        description="adapters that routes name and this process cannot have, with the reason; "
        "their fallbacks answer"
    )
    log: ShownLog
    registry: str = Field(description="ok, or why the adapters' registry cannot be read")
    ready: str = Field(description="ok, or why requests for workflows are refused")
    replicas: list[ShownReplica] = Field(
        description="every gateway that shares the log, as last heard"
    )
    gates_overridden: list[ShownGateOverride] = Field(
        description="adapters that are approved in spite of their gate"
    )
    adapters_not_servable: list[NotServable]
