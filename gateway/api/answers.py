"""What the admin API answers, typed: made from the values, and described by its OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gateway.access.values import Grant, KeyRecord, Mark
from gateway.control.fleet import Acknowledgement, Answer
from gateway.control.plane import ControlPlane
from gateway.control.values import Committed
from gateway.log.record import Record
from gateway.registry.values import AdapterArtifact, AdapterState, GateResult
from gateway.routing.assignment import BUCKETS
from gateway.routing.events import Change, Event, EventKind
from gateway.routing.past import Step
from gateway.routing.table import Decision, Reason, Split


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


class ShownSplit(Shown):
    """A running canary."""

    target: str
    share: float = Field(description="percent of the requests that it answers")

    @classmethod
    def of(cls, split: Split) -> ShownSplit:
        return cls(target=str(split.target), share=split.buckets * 100 / BUCKETS)


class ShownDecision(Shown):
    """Where a workflow goes."""

    target: str = Field(description="base or name@version")
    reason: Reason
    fallback: str
    split: ShownSplit | None = Field(
        default=None, description="the canary that answers a share of the requests"
    )

    @classmethod
    def of(cls, decision: Decision) -> ShownDecision:
        return cls(
            target=str(decision.target),
            reason=decision.reason,
            fallback=str(decision.route.fallback),
            split=None if decision.split is None else ShownSplit.of(decision.split),
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
    """The workflows whose target, reason, fallback or canary differ."""
    changes = []
    for name in sorted({*before, *after}):
        old, new = (
            ShownDecision.of(table[name]) if name in table else None for table in (before, after)
        )
        if old != new:
            changes.append(ShownChange(workflow=name, before=old, after=new))
    return changes


class Revisions(Shown):
    """A page of the log, newest first."""

    revision: int
    revisions: list[ShownEvent]


class Revision(Shown):
    """One revision, the table after it, and what it changed."""

    event: ShownEvent
    table: dict[str, ShownDecision]
    changes: list[ShownChange]


class ShownStep(Shown):
    """A revision that changed one workflow."""

    revision: int
    kind: EventKind
    actor: str
    reason: str
    at: float = Field(description="seconds since the epoch")
    before: ShownDecision | None
    after: ShownDecision | None
    route: str | None = Field(
        description="the target of the route then in force, also while it was disabled"
    )
    no_way_back: str | None = Field(
        description="why a rollback cannot lead to this revision's route; null where it can"
    )

    @classmethod
    def of(cls, step: Step) -> ShownStep:
        event, before, after = step.event, step.before, step.after
        return cls(
            revision=event.revision,
            kind=event.change.kind,
            actor=event.actor,
            reason=event.reason,
            at=event.at,
            before=None if before is None else ShownDecision.of(before),
            after=None if after is None else ShownDecision.of(after),
            route=None if after is None else str(after.route.target),
            no_way_back=step.no_way_back,
        )


class Past(Shown):
    """What one workflow went to, newest first."""

    workflow: str
    steps: list[ShownStep]


class Records(Shown):
    """A page of the log as it is stored, oldest first."""

    records: list[Record]


class Difference(Shown):
    """What differs between two revisions."""

    from_: int = Field(serialization_alias="from")
    to: int
    changes: list[ShownChange]


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
