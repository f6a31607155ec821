"""The immutable routing table and `resolve()`, the one question every request asks it.

Never does I/O and never changes: a new table is built by the fold (`fold.py`) and swapped in by
one reference assignment. A request holds the table it was admitted under.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from gateway.errors import BadInput
from gateway.guard.values import GuardRule
from gateway.routing.assignment import CanaryPlan, bucket

BASE = "base"
NAME_PATTERN = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
VERSION_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}"
_REF = re.compile(rf"^(?P<name>{NAME_PATTERN})@(?P<version>{VERSION_PATTERN})\Z")


class Reason(StrEnum):
    """Why a request went where it went (header `x-gateway-reason`)."""

    ROUTE = "route"
    CANARY = "canary"
    DISABLED = "disabled"
    PINNED = "pinned"
    FALLBACK = "fallback"
    DEFAULT = "default"


class ErrorClass(StrEnum):
    """What a request may fail of that another target may not."""

    ENGINE = "engine"  # the engine, or the servers that it asks, failed or cannot be asked
    OVERLOAD = "overload"  # it takes no more at present


@dataclass(frozen=True, slots=True, order=True)
class AdapterRef:
    """`name@version`, the human name of an adapter. Its identity is its digest."""

    name: str
    version: str

    @classmethod
    def parse(cls, text: str) -> AdapterRef:
        """Parse `name@version`; raises BadInput naming the expected form."""
        match = _REF.match(text)
        if match is None:
            raise BadInput(
                f"{text!r} is not an adapter reference; write name@version, "
                "for example ticket-triage@1"
            )
        return cls(match["name"], match["version"])

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a workflow is sent to: an adapter by reference and digest, or the base model."""

    ref: AdapterRef | None = None
    digest: str | None = None  # sha256 hex of the adapter's content; None exactly for base

    @property
    def is_base(self) -> bool:
        return self.ref is None

    def __str__(self) -> str:
        return BASE if self.ref is None else str(self.ref)


BASE_TARGET = Target()


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a share of a workflow's requests is asked a second time, only to compare the answers.

    It may be an adapter that is not approved: no client sees what it says.
    """

    target: Target
    share: float  # in percent, of the requests that the route's target answered
    store_text: bool = False
    store_bytes: int = 0  # with store_text: the most that is kept


@dataclass(frozen=True, slots=True)
class Canary:
    """A second adapter for a route, and how it grows at the cost of the route's target."""

    target: Target
    plan: CanaryPlan


@dataclass(frozen=True, slots=True)
class Route:
    """One workflow's entry as its file states it. Digests are resolved when it is accepted."""

    workflow: str
    target: Target
    fallback: Target = BASE_TARGET
    description: str = ""
    max_tokens: int | None = None  # upper limit on new tokens a client may ask for
    default_max_tokens: int | None = None  # used where the client names none
    temperature: float | None = None  # default where the client names none
    response_schema: Mapping[str, Any] | None = field(default=None, hash=False)
    guard: GuardRule | None = None  # what is watched; nothing here looks into it
    shadow: Shadow | None = None  # likewise
    on_error: tuple[ErrorClass, ...] = ()  # what sends a request on to fallback, then to base
    canary: Canary | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """Everything that it names."""
        more = () if self.canary is None else (self.canary.target,)
        return (self.target, self.fallback, *more)

    @property
    def without_canary(self) -> Route:
        return self if self.canary is None else replace(self, canary=None)

    def same(self, other: Route) -> bool:
        """Whether nothing differs, the order of a schema's keys included: it has a meaning, and
        equality passes over it."""
        if self is other:
            return True
        plain = self.response_schema is None and self.guard is None
        return self == other and (plain or repr(self) == repr(other))


@dataclass(frozen=True, slots=True)
class Disabled:
    """An operator's (or the guard's) switch-off of a workflow: it is served by its fallback."""

    revision: int
    actor: str
    reason: str
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Pinned:
    """A rollback: the workflow keeps `route` as it was at `to_revision`, whatever the file says."""

    revision: int
    actor: str
    reason: str
    at: float
    to_revision: int
    route: Route


@dataclass(frozen=True, slots=True)
class Override:
    """The operator's hand on one workflow, above the file. Disabled wins over pinned."""

    disabled: Disabled | None = None
    pinned: Pinned | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """What a running canary takes of a workflow's requests."""

    target: Target
    buckets: int  # of BUCKETS
    key: str  # see `CanaryPlan.key`
    seed: bytes  # see `assignment.seed`


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one request; what the headers, metrics and the log line tell of it.

    As a workflow's, with a `split`, it is the control arm's; `resolve` tells the arm of a request.
    """

    workflow: str
    target: Target
    reason: Reason
    revision: int
    route: Route
    why: str = ""  # what is wrong with an adapter that the route names, its canary's too
    split: Split | None = None

    @property
    def canary_arm(self) -> Decision | None:
        """What the canary's requests are decided to; None where none runs or was promoted."""
        if self.reason is Reason.CANARY:
            return self
        if self.split is None:
            return None
        return Decision(self.workflow, self.split.target, Reason.CANARY, self.revision, self.route)

    @property
    def control_arm(self) -> Decision | None:
        """What the others are decided to; None where a canary was promoted."""
        return None if self.reason is Reason.CANARY else self


class Decisions(Mapping[str, Decision]):
    """Every workflow's decision at one revision. Never changes.

    What was decided for a workflow stays one value until it changes, so that a table is made from
    the one before it at the price of what changed; the revision is written in when a decision is
    first asked for. `held` ones are of an earlier revision, and keep it.
    """

    __slots__ = ("_decided", "_held", "_revision", "_told")

    def __init__(
        self,
        decided: Mapping[str, Decision],
        revision: int,
        held: Mapping[str, Decision] | None = None,
    ) -> None:
        self._decided = decided
        self._revision = revision
        self._held = held or {}
        self._told: dict[str, Decision] = {}

    @property
    def decided(self) -> Mapping[str, Decision]:
        """What was decided, at whatever revision: what did not change is the same object here as
        in the table before."""
        return self._decided

    @property
    def held(self) -> Mapping[str, Decision]:
        """The decisions of an earlier revision that stand above those of this one."""
        return self._held

    def holding(self, held: Mapping[str, Decision]) -> Decisions:
        """The same with `held` above."""
        return Decisions(self._decided, self._revision, held)

    def __getitem__(self, workflow: str) -> Decision:
        told = self._told.get(workflow)
        if told is None:
            told = self._held.get(workflow)
            if told is None:
                was = self._decided[workflow]
                told = Decision(
                    was.workflow,
                    was.target,
                    was.reason,
                    self._revision,
                    was.route,
                    was.why,
                    was.split,
                )
            self._told[workflow] = told
        return told

    def __iter__(self) -> Iterator[str]:
        return iter(self._decided)

    def __len__(self) -> int:
        return len(self._decided)

    def __contains__(self, workflow: object) -> bool:
        return workflow in self._decided

    def __repr__(self) -> str:
        return f"Decisions({dict(self)!r})"


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The effective table at one revision: every workflow's decision, ready to hand out.

    `base` is always resolvable, with reason `default`, even where no route names it.
    """

    revision: int
    decisions: Decisions

    def resolve(self, workflow: str, key: Callable[[str], str] | None = None) -> Decision | None:
        """The decision for `workflow`, or None where the table does not know it. O(1).

        `key` tells who asks, given what the route's canary goes by (see `CanaryPlan.key`); it is
        called only where a canary runs. Without it the control arm is told.
        """
        decision = self.decisions.get(workflow)
        if key is None or decision is None or decision.split is None:
            return decision
        split = decision.split
        taken = bucket(split.seed, key(split.key)) < split.buckets
        return decision.canary_arm if taken else decision
