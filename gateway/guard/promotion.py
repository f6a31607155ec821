"""Moves canaries on: a step that has lasted, and whose answers the guard is content with.

Content means, on this gateway: every check of the canary that may act has scored `min_answers`
answers since the step began, and none has tripped. Checks that somebody else scores (feedback) must
not have tripped. Of several gateways that find so at once, the log lets one move the step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.control.plane import ControlPlane
from gateway.control.values import Command
from gateway.errors import GatewayError, NotAllowed, NotFound
from gateway.guard.acting import ACTOR
from gateway.guard.values import SCORED_ELSEWHERE, OnTrip
from gateway.guard.watched import Arm, Key, Watched, live_arm, version_key
from gateway.routing import canary_commands
from gateway.routing.canary import CanaryProgress
from gateway.routing.fold import canary_of

log = logging.getLogger("gateway.guard")

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a canary's present step still waits for."""

    left_s: float  # that it lasts at least
    waits_for: tuple[str, ...]  # what the guard has not seen, or has seen and is not content with
    seen: tuple[str, ...]  # each check's rate, as the reason of a promotion

    @property
    def is_due(self) -> bool:
        return self.left_s <= 0 and not self.waits_for


def outlook(progress: CanaryProgress, watched: Watched | None, now: float) -> Outlook | None:
    """What a step waits for at `now` (seconds since the epoch); None where a hand moves it.

    `watched` is what this gateway has of the canary's version in force, None where nothing.
    """
    plan = progress.canary.plan
    if not progress.grows_by_itself or plan.hold_s is None:
        return None
    left_s = max(0.0, progress.since.at + plan.hold_s - now)
    step = None if watched is None else watched.step
    if watched is None or step is None or step.revision != progress.since.revision:
        return Outlook(left_s, ("no answer of this step was seen on this gateway yet",), ())
    waits, seen = [], []
    for at, evidence in enumerate(watched.panel.evidence()):
        name, check = evidence.signal.name, evidence.signal.check
        if watched.panel.rule.action(check) is OnTrip.ALERT:
            continue
        seen.append(f"{name} {evidence.rate:.1%} of {evidence.seen}")
        compares = (
            check.compares_arms and progress.share < 100
        )  # then the control arm has answers too
        if evidence.tripped:
            waits.append(f"{name} has tripped")
        elif check.kind in SCORED_ELSEWHERE:
            continue
        elif step.answers[at] < plan.min_answers:
            waits.append(f"{name} has scored {step.answers[at]} of {plan.min_answers} answers")
        elif compares and step.pairs[at] < plan.min_answers:
            waits.append(f"{name} has compared {step.pairs[at]} of {plan.min_answers} pairs")
    pooled = () if watched.share is None else watched.share.evidence
    waits += [
        f"{evidence.signal.name} has tripped, over all gateways"
        for evidence in pooled
        if evidence.tripped and watched.panel.rule.action(evidence.signal.check) is not OnTrip.ALERT
    ]
    return Outlook(left_s, tuple(waits), tuple(seen))


class Promotion:
    """Looks at every canary once a second. Belongs to the watch's event loop."""

    def __init__(
        self, plane: ControlPlane, watched: Mapping[Key, Watched], clock: Callable[[], float]
    ) -> None:
        """`watched` is the watch's own record, read here."""
        self._plane = plane
        self._watched = watched
        self._clock = clock

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.look()
            except Exception:  # a canary that waits is no harm; one that is never looked at is
                log.exception("looking at canaries failed; it is tried again")

    async def look(self) -> None:
        """Move on what is due."""
        for workflow in list(self._plane.state.canaries):
            found = self.outlook(workflow)
            if found is not None and found.is_due:
                await self._move(workflow, found)

    def outlook(self, workflow: str) -> Outlook | None:
        """What the workflow's canary waits for; None where a hand moves it, or it has none."""
        state = self._plane.state
        progress = canary_of(state, workflow)
        if progress is None:
            return None
        live = live_arm(self._plane.table, workflow, Arm.CANARY)
        watched = self._watched.get((workflow, Arm.CANARY))
        if live is None or watched is None or watched.key != version_key(live, state):
            watched = None
        return outlook(progress, watched, self._clock())

    async def _move(self, workflow: str, found: Outlook) -> None:
        progress = canary_of(self._plane.state, workflow)
        if progress is None:
            return
        judged = progress.since.revision
        reason = (
            f"{progress.share:g}% for {progress.canary.plan.hold_s:g} s and the guard is content: "
            f"{', '.join(found.seen)}"
        )
        try:
            done = await self._plane.amend(
                lambda state: canary_commands.promote(state, workflow, judged=judged),
                Command(ACTOR, reason),
            )
        except (NotAllowed, NotFound) as error:
            log.info("the canary of %s was not moved: %s", workflow, error)
        except GatewayError as error:
            log.warning("the canary of %s is not moved yet: %s", workflow, error)
        else:
            log.info(
                "the canary of %s was moved at revision %s: %s", workflow, done.revision, reason
            )
