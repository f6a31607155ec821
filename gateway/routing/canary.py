"""How far a route's canary is: part of the folded state, and what may be asked of it. Pure.

A canary begins at its first step when the file names it. The guard or a hand moves it on, promotes
it (it answers everything, until the file says otherwise) or aborts it (it answers nothing, until
the file names another adapter or a person restarts it). What the file changes of it begins it anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.access.values import Mark
from gateway.routing.assignment import CanaryPlan, buckets_of, seed
from gateway.routing.events import CanaryAborted, CanaryPromoted, CanaryRestarted, CanaryStepped
from gateway.routing.table import Canary, Route, Split


class Phase(StrEnum):
    RUNNING = "running"
    PROMOTED = "promoted"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class CanaryProgress:
    """One canary of one workflow, from the revision at which it `begun`."""

    canary: Canary
    begun: int
    since: Mark  # when, by whom and why it came to its step or phase
    phase: Phase = Phase.RUNNING
    step: int = 0

    @property
    def share(self) -> float:
        """What it answers, in percent."""
        if self.phase is Phase.RUNNING:
            return self.canary.plan.steps[self.step]
        return 100.0 if self.phase is Phase.PROMOTED else 0.0

    @property
    def next_share(self) -> float | None:
        """What its next step answers; None after the last one."""
        steps = self.canary.plan.steps
        if self.phase is not Phase.RUNNING or self.step + 1 >= len(steps):
            return None
        return steps[self.step + 1]

    @property
    def grows_by_itself(self) -> bool:
        """Whether time and the guard move it on from here. Past a last step of less than 100% it
        waits for a hand."""
        return (
            self.phase is Phase.RUNNING
            and self.canary.plan.hold_s is not None
            and (self.next_share is not None or self.share >= 100)
        )

    def moved_on(self, workflow: str, *, whole: bool = False) -> CanaryStepped | CanaryPromoted:
        """The change that gives it its next step; `whole`: everything at once."""
        share = self.next_share
        if whole or share is None:
            return CanaryPromoted(workflow, self.canary.target)
        return CanaryStepped(workflow, self.canary.target, self.step + 1, share)

    def split(self, workflow: str) -> Split:
        """What it takes of the requests while it runs."""
        target, plan = self.canary.target, self.canary.plan
        return Split(target, buckets_of(self.share), plan.key, seed(workflow, target.digest or ""))


Canaries = Mapping[str, CanaryProgress]  # by workflow


def after_table(
    known: Canaries, routes: Iterable[Route], removed: Collection[str], mark: Mark
) -> Canaries:
    """The canaries after a table: `routes` are new or perhaps changed, `removed` are gone.

    An abort is remembered beyond the route and the workflow, until the file names another adapter.
    """
    after = dict(known)
    for route in routes:
        now = _standing(known.get(route.workflow), route.canary)
        if now is None and route.canary is not None:
            now = CanaryProgress(route.canary, mark.revision, mark)
        if now is None:
            after.pop(route.workflow, None)
        else:
            after[route.workflow] = now
    for workflow in removed:
        if workflow in after and after[workflow].phase is not Phase.ABORTED:
            del after[workflow]
    return known if after == known else after


def _standing(was: CanaryProgress | None, canary: Canary | None) -> CanaryProgress | None:
    """What is left of `was` where the file now names `canary`."""
    if was is None or was.canary == canary:
        return was
    if was.phase is not Phase.ABORTED:
        return None
    if canary is None:
        return was
    return replace(was, canary=canary) if canary.target == was.canary.target else None


def after_step(known: Canaries, change: CanaryStepped, mark: Mark) -> Canaries:
    """The canaries after a step."""
    was = known.get(change.workflow)
    if was is None or was.canary.target != change.target or was.phase is not Phase.RUNNING:
        return known  # of a canary that the file has replaced since
    if not 0 <= change.step < len(was.canary.plan.steps):
        return known
    return {**known, change.workflow: replace(was, step=change.step, since=mark)}


def after_promotion(known: Canaries, change: CanaryPromoted, mark: Mark) -> Canaries:
    """The canaries after a promotion."""
    was = known.get(change.workflow)
    if was is None or was.canary.target != change.target or was.phase is not Phase.RUNNING:
        return known
    return {**known, change.workflow: replace(was, phase=Phase.PROMOTED, since=mark)}


def after_abort(known: Canaries, change: CanaryAborted, mark: Mark) -> Canaries:
    """The canaries after an abort. One of a canary that is not named yet is remembered."""
    was = known.get(change.workflow)
    if was is None:
        was = CanaryProgress(Canary(change.target, CanaryPlan(())), mark.revision, mark)
    elif was.canary.target != change.target or was.phase is Phase.ABORTED:
        return known
    return {**known, change.workflow: replace(was, phase=Phase.ABORTED, step=0, since=mark)}


def after_restart(known: Canaries, change: CanaryRestarted, mark: Mark) -> Canaries:
    """The canaries after a restart."""
    was = known.get(change.workflow)
    if was is None or was.canary.target != change.target or was.phase is not Phase.ABORTED:
        return known
    if not was.canary.plan.steps:  # the file does not name it: nothing is left of it
        return {name: each for name, each in known.items() if name != change.workflow}
    return {**known, change.workflow: CanaryProgress(was.canary, mark.revision, mark)}


def after_pause(known: Canaries, workflow: str, mark: Mark) -> Canaries:
    """The canaries after a disable or pin was lifted: a step that was interrupted lasts anew."""
    was = known.get(workflow)
    if was is None or was.phase is not Phase.RUNNING:
        return known
    return {**known, workflow: replace(was, since=mark)}
