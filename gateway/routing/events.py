"""Events: everything that changes routing or access, as values, and their JSON form in the log.

An event's sequence number is the revision. Events are self-contained: a fold never has to look
anything up outside the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gateway.access.values import Key
from gateway.registry.values import GateVerdict
from gateway.routing.table import AdapterRef, Route, Target

InFlight = Literal["finish", "restart"]
API_SOURCE = "api"  # of a table that came over the admin API, not from the file


class EventKind(StrEnum):
    TABLE_APPLIED = "table_applied"
    TABLE_EDITED = "table_edited"
    ROUTE_DISABLED = "route_disabled"
    ROUTE_ENABLED = "route_enabled"
    ROUTE_PINNED = "route_pinned"
    ROUTE_RESUMED = "route_resumed"
    CANARY_STEPPED = "canary_stepped"
    CANARY_PROMOTED = "canary_promoted"
    CANARY_ABORTED = "canary_aborted"
    CANARY_RESTARTED = "canary_restarted"
    ADAPTER_REGISTERED = "adapter_registered"
    ADAPTER_APPROVED = "adapter_approved"
    ADAPTER_REVOKED = "adapter_revoked"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"


@dataclass(frozen=True, slots=True)
class TableApplied:
    """routes.yaml (or a PUT table) accepted whole: all routes, by workflow name."""

    routes: tuple[Route, ...]  # sorted by workflow
    source: str  # the file's path, or API_SOURCE
    digest: str  # sha256 hex of the text that was applied
    kind: Literal[EventKind.TABLE_APPLIED] = EventKind.TABLE_APPLIED


@dataclass(frozen=True, slots=True)
class TableEdited:
    """The same, said by what differs from the table before it: one edit of a large table is a
    small event."""

    routes: tuple[Route, ...]  # new or changed, sorted by workflow
    removed: tuple[str, ...]  # workflows, sorted
    source: str  # as in `TableApplied`
    digest: str  # sha256 hex of the whole text that was applied
    kind: Literal[EventKind.TABLE_EDITED] = EventKind.TABLE_EDITED


@dataclass(frozen=True, slots=True)
class RouteDisabled:
    workflow: str
    in_flight: InFlight = "finish"
    kind: Literal[EventKind.ROUTE_DISABLED] = EventKind.ROUTE_DISABLED


@dataclass(frozen=True, slots=True)
class RouteEnabled:
    workflow: str
    kind: Literal[EventKind.ROUTE_ENABLED] = EventKind.ROUTE_ENABLED


@dataclass(frozen=True, slots=True)
class RoutePinned:
    workflow: str
    to_revision: int
    route: Route
    in_flight: InFlight = "finish"
    kind: Literal[EventKind.ROUTE_PINNED] = EventKind.ROUTE_PINNED


@dataclass(frozen=True, slots=True)
class RouteResumed:
    workflow: str
    kind: Literal[EventKind.ROUTE_RESUMED] = EventKind.ROUTE_RESUMED


@dataclass(frozen=True, slots=True)
class CanaryStepped:
    """The canary `target` of a workflow was given a larger share."""

    workflow: str
    target: Target
    step: int  # which of its plan's, from 0
    share: float  # in percent
    kind: Literal[EventKind.CANARY_STEPPED] = EventKind.CANARY_STEPPED


@dataclass(frozen=True, slots=True)
class CanaryPromoted:
    """The canary answers every request, until the file says what the workflow goes to."""

    workflow: str
    target: Target
    kind: Literal[EventKind.CANARY_PROMOTED] = EventKind.CANARY_PROMOTED


@dataclass(frozen=True, slots=True)
class CanaryAborted:
    """The canary answers no request, until it is restarted or the file names another."""

    workflow: str
    target: Target
    in_flight: InFlight = "finish"
    kind: Literal[EventKind.CANARY_ABORTED] = EventKind.CANARY_ABORTED


@dataclass(frozen=True, slots=True)
class CanaryRestarted:
    """An aborted canary begins again, at its first step."""

    workflow: str
    target: Target
    kind: Literal[EventKind.CANARY_RESTARTED] = EventKind.CANARY_RESTARTED


@dataclass(frozen=True, slots=True)
class AdapterRegistered:
    """Somebody brought the adapter in over the admin API: the one who may not also approve it,
    where two persons are asked for."""

    ref: AdapterRef
    digest: str
    kind: Literal[EventKind.ADAPTER_REGISTERED] = EventKind.ADAPTER_REGISTERED


@dataclass(frozen=True, slots=True)
class AdapterApproved:
    """Routes may name the adapter. `gate` is what its evals came to when it was approved (None in
    events older than the gate); `override` says that it was approved in spite of that."""

    ref: AdapterRef
    digest: str
    override: bool = False
    gate: GateVerdict | None = None
    kind: Literal[EventKind.ADAPTER_APPROVED] = EventKind.ADAPTER_APPROVED


@dataclass(frozen=True, slots=True)
class AdapterRevoked:
    ref: AdapterRef
    digest: str
    kind: Literal[EventKind.ADAPTER_REVOKED] = EventKind.ADAPTER_REVOKED


@dataclass(frozen=True, slots=True)
class KeyCreated:
    """A key that is let in from now on. Of its secret the log has the digest alone."""

    key: Key
    kind: Literal[EventKind.KEY_CREATED] = EventKind.KEY_CREATED


@dataclass(frozen=True, slots=True)
class KeyRevoked:
    key_id: str
    name: str
    kind: Literal[EventKind.KEY_REVOKED] = EventKind.KEY_REVOKED


Change = (
    TableApplied
    | TableEdited
    | RouteDisabled
    | RouteEnabled
    | RoutePinned
    | RouteResumed
    | CanaryStepped
    | CanaryPromoted
    | CanaryAborted
    | CanaryRestarted
    | AdapterRegistered
    | AdapterApproved
    | AdapterRevoked
    | KeyCreated
    | KeyRevoked
)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before the log has numbered it."""

    change: Change
    actor: str  # who: operator's name, "file", "guard"
    reason: str  # why, in the actor's words ("" for file edits)
    at: float  # seconds since the epoch, given by the caller
    origin: str = ""  # from where: the replica and the address that asked it


@dataclass(frozen=True, slots=True)
class Event:
    """An accepted event; `revision` is its sequence number in the log, from 1, never reused."""

    revision: int
    change: Change
    actor: str
    reason: str
    at: float
    origin: str = ""
    hash: str = ""  # of the log's chain; empty for events older than it
