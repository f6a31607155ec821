"""What the control plane takes and gives back, as values, and how two tables differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import Problem
from gateway.routing.effective import changed_workflows
from gateway.routing.events import Event
from gateway.routing.table import BASE_TARGET, Decision, RoutingTable, Target


@dataclass(frozen=True, slots=True)
class Command:
    """Who asks, why, from where, and the revision it was decided on (None: the newest)."""

    actor: str
    reason: str = ""
    expected_revision: int | None = None
    origin: str = ""  # the address that asked, as the replica saw it


@dataclass(frozen=True, slots=True)
class DecisionChange:
    """One workflow before and after; None where it did not or does not exist."""

    workflow: str
    before: Decision | None
    after: Decision | None


@dataclass(frozen=True, slots=True)
class Committed:
    """An accepted command (`event` None for a dry run or where nothing was to change).

    `owed`: this replica alone obeys, and the log gets it when it is back; `kept`: it is on this
    disk until then, so that a restart does not forget it.
    """

    event: Event | None
    revision: int
    changes: tuple[DecisionChange, ...]
    owed: bool = False
    kept: bool = True


@dataclass(frozen=True, slots=True)
class FileStatus:
    """How the last reading of routes.yaml went."""

    path: Path
    ok: bool
    problems: tuple[Problem, ...]
    loaded_at: float  # seconds since the epoch
    applied_revision: int


def targets_of(decisions: Iterable[Decision]) -> set[Target]:
    """The adapters that decisions and their routes name."""
    targets = {
        target
        for decision in decisions
        for target in (
            decision.target,
            *decision.route.targets,
            *(() if decision.split is None else (decision.split.target,)),
        )
    }
    return targets - {BASE_TARGET}


def digests_of(targets: Iterable[Target]) -> set[str]:
    """The digests of adapters."""
    return {target.digest for target in targets if target.digest is not None}


def changes_between(before: RoutingTable, after: RoutingTable) -> tuple[DecisionChange, ...]:
    """The workflows whose target, reason, route or canary differ."""
    changed = []
    for name in sorted(changed_workflows(before, after)):
        old, new = before.decisions.get(name), after.decisions.get(name)
        if (
            old is None
            or new is None
            or (old.target, old.reason, old.split) != (new.target, new.reason, new.split)
            or old.route != new.route
        ):
            changed.append(DecisionChange(name, old, new))
    return tuple(changed)
