"""What the admin API answers, typed: made from the values, and described by its OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.access.values import Grant, KeyRecord, Mark
from gateway.control.fleet import Acknowledgement, Answer, Seen
from gateway.control.plane import ControlPlane
from gateway.control.values import Committed
from gateway.engine.base import EngineInfo, EngineStats
from gateway.errors import Problem
from gateway.log.record import Record
from gateway.registry.values import AdapterArtifact, AdapterState, GateResult, GateVerdict
from gateway.routing.events import Change, Event, EventKind
from gateway.routing.fold import GateOverride
from gateway.routing.table import Decision, Reason


class Shown(BaseModel):
    """Any answer."""

    model_config = ConfigDict(frozen=True)


class ShownEvent(Shown):
    """One revision of the log."""

    revision: int
    kind: EventKind
    actor: str = Field(description="who: an operator's name, key:NAME, file or guard")
    reason: str
    at: float = Field(description="seconds since the epoch")
    origin: str = Field(description="from where: the replica and the address that asked it")
    hash: str = Field(description="of the log's chain; empty for events older than it")
    change: Change

    @classmethod
    def of(cls, event: Event) -> ShownEvent:
        return cls(
            revision=event.revision,
            kind=event.change.kind,
            actor=event.actor,
            reason=event.reason,
            at=event.at,
            origin=event.origin,
            hash=event.hash,
            change=event.change,
        )


class ShownDecision(Shown):
    """Where a workflow goes."""

    target: str = Field(description="base or name@version")
    reason: Reason
    fallback: str

    @classmethod
    def of(cls, decision: Decision) -> ShownDecision:
        return cls(
            target=str(decision.target),
            reason=decision.reason,
            fallback=str(decision.route.fallback),
        )


class ShownChange(Shown):
    """One workflow before and after; null where it did not or does not exist."""

    workflow: str
    before: ShownDecision | None
    after: ShownDecision | None


class ShownAcknowledgement(Shown):
    """How far one replica is with a revision."""

    replica: str
    answer: Answer = Field(
        description="obeyed; pending: it waits for the adapter; silent: live, and has not "
        "answered; lost: not heard of for seconds, and what it serves is not known"
    )
    revision: int = Field(description="what it serves, as far as it has said")
    seen_s: float = Field(description="seconds since it was last heard of")
    note: str

    @classmethod
    def of(cls, one: Acknowledgement) -> ShownAcknowledgement:
        return cls(**asdict(one))


class Outcome(Shown):
    """What a command changed. `event` is null where there was nothing to change."""

    revision: int
    event: ShownEvent | None
    changes: list[ShownChange]
    replicas: list[ShownAcknowledgement] = Field(
        default=[], description="for commands on a workflow: which replicas obey"
    )
    owed: bool = Field(
        default=False,
        description="the log is away: this replica alone obeys, the log gets it later",
    )
    kept: bool = Field(default=True, description="a restart does not forget it")

    @classmethod
    def of(cls, done: Committed, replicas: Sequence[Acknowledgement] = ()) -> Outcome:
        return cls(
            **outcome_fields(done),
            replicas=[ShownAcknowledgement.of(one) for one in replicas],
            owed=done.owed,
            kept=done.kept,
        )


def outcome_fields(done: Committed) -> dict[str, Any]:
    """The fields of `Outcome`, for answers that say more."""
    return {
        "revision": done.revision,
        "event": None if done.event is None else ShownEvent.of(done.event),
        "changes": [
            ShownChange(
                workflow=change.workflow,
                before=None if change.before is None else ShownDecision.of(change.before),
                after=None if change.after is None else ShownDecision.of(change.after),
            )
            for change in done.changes
        ],
    }


def differences(before: Mapping[str, Decision], after: Mapping[str, Decision]) -> list[ShownChange]:
    """The workflows whose target, reason or fallback differ."""
    changes = []
    for name in sorted({*before, *after}):
        old, new = (
            ShownDecision.of(table[name]) if name in table else None for table in (before, after)
        )
        if old != new:
            changes.append(ShownChange(workflow=name, before=old, after=new))
    return changes


class ShownHand(Shown):
    """An operator's hand on a route. `to_revision` is null for a disable."""

    revision: int
    actor: str
    reason: str
    at: float
    to_revision: int | None = None


class ShownRoute(ShownDecision):
    """A workflow of the live table, and how it differs from the file."""

    why: str | None = Field(description="why it goes to its fallback, where something is wrong")
    override: dict[Literal["disabled", "pinned"], ShownHand] | None
    file_target: str | None = Field(description="null where the file does not name the workflow")
    differs: bool
    description: str


class Routes(Shown):
    """The live table."""

    revision: int
    workflows: dict[str, ShownRoute]

    @classmethod
    def of(cls, plane: ControlPlane) -> Routes:
        table = plane.table
        workflows = {name: _route(plane, d) for name, d in table.decisions.items()}
        return cls(revision=table.revision, workflows=workflows)


def _route(plane: ControlPlane, decision: Decision) -> ShownRoute:
    hand = plane.state.overrides.get(decision.workflow)
    in_file = plane.state.routes.get(decision.workflow)
    override: dict[Literal["disabled", "pinned"], ShownHand] = {}
    if hand is not None and (off := hand.disabled) is not None:
        override["disabled"] = ShownHand(
            revision=off.revision, actor=off.actor, reason=off.reason, at=off.at
        )
    if hand is not None and (pin := hand.pinned) is not None:
        override["pinned"] = ShownHand(
            revision=pin.revision,
            actor=pin.actor,
            reason=pin.reason,
            at=pin.at,
            to_revision=pin.to_revision,
        )
    file_target = None if in_file is None else str(in_file.target)
    return ShownRoute(
        target=str(decision.target),
        reason=decision.reason,
        fallback=str(decision.route.fallback),
        why=decision.why or None,
        override=override or None,
        file_target=file_target,
        differs=file_target is not None and file_target != str(decision.target),
        description=decision.route.description,
    )


class Revisions(Shown):
    """A page of the log, newest first."""

    revision: int
    revisions: list[ShownEvent]


class Revision(Shown):
    """One revision, the table after it, and what it changed."""

    event: ShownEvent
    table: dict[str, ShownDecision]
    changes: list[ShownChange]


class Records(Shown):
    """A page of the log as it is stored, oldest first."""

    records: list[Record]


class Difference(Shown):
    """What differs between two revisions."""

    from_: int = Field(serialization_alias="from")
    to: int
    changes: list[ShownChange]


class ShownGateOverride(Shown):
    """An adapter that is approved in spite of its gate."""

    ref: str
    gate: GateVerdict = Field(description="what the gate had said")
    by: Mark = Field(description="who approved it all the same, and why")

    @classmethod
    def of(cls, override: GateOverride) -> ShownGateOverride:
        return cls(ref=str(override.ref), gate=override.gate, by=override.by)


class ShownAdapter(Shown):
    """An adapter of the registry, with the state in force."""

    ref: str
    digest: str
    state: AdapterState
    rank: int
    size_bytes: int
    base: str
    base_fingerprint: str
    workflow: str
    created_at: str
    description: str
    registered: Mark | None = Field(description="who registered it over this API; null: nobody")
    gate: GateResult = Field(description="what its evals came to; none: published without")
    gate_override: Mark | None = Field(
        description="who approved it in spite of its gate; null: nobody"
    )

    @classmethod
    def of(cls, plane: ControlPlane, artifact: AdapterArtifact) -> ShownAdapter:
        return cls(**adapter_fields(plane, artifact))


class AdapterDetail(ShownAdapter):
    """An adapter with the eval report it was published with."""

    report: dict[str, Any] | None


def adapter_fields(plane: ControlPlane, artifact: AdapterArtifact) -> dict[str, Any]:
    """The fields of `ShownAdapter`."""
    override = plane.state.gate_overrides.get(artifact.digest)
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
        "registered": plane.state.registered.get(artifact.digest),
        "gate": artifact.gate,
        "gate_override": override.by if override else None,
    }


class Adapters(Shown):
    """Every whole adapter of the registry."""

    adapters: list[ShownAdapter]


class ShownFile(Shown):
    """How the last reading of routes.yaml went."""

    path: str
    ok: bool
    problems: list[Problem]
    loaded_at: float
    in_force: bool = Field(
        description="false where a table that was applied over this API lies above the file"
    )


class ShownLog(Shown):
    """Whether the log could be reached last time."""

    ok: bool
    error: str | None
    stale_seconds: float = Field(description="how long it has not been heard of; 0 while it is ok")
    copy_error: str | None = Field(description="why this replica's copy of the log is behind")
    owed: int = Field(description="orders that this replica obeys and the log has not got yet")


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
    ready: str = Field(description="ok, or why requests for workflows are refused")
    replicas: list[ShownReplica] = Field(
        description="every gateway that shares the log, as last heard"
    )
    gates_overridden: list[ShownGateOverride] = Field(
        description="adapters that are approved in spite of their gate"
    )
    adapters_not_servable: list[NotServable]


class ShownKey(Shown):
    """A key; its secret is nowhere."""

    id: str
    name: str
    grant: Grant
    created: Mark
    revoked: Mark | None

    @classmethod
    def of(cls, record: KeyRecord) -> ShownKey:
        return cls(
            id=record.key.id,
            name=record.key.name,
            grant=record.key.grant,
            created=record.created,
            revoked=record.revoked,
        )


class Keys(Shown):
    """Every key that was ever made, oldest first."""

    keys: list[ShownKey]


class NewKey(Outcome):
    """A key that was just made. `secret` is shown this once."""

    key: ShownKey
    secret: str
