"""The live table as the admin API shows it: each workflow's decision, hands and canary."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.access.values import Mark
from gateway.api.answers import Shown, ShownDecision
from gateway.control.plane import ControlPlane
from gateway.guard.promotion import Outlook, Promotion
from gateway.routing.canary import CanaryProgress, Phase
from gateway.routing.fold import canary_of
from gateway.routing.table import Decision


class ShownHand(Shown):
    """An operator's hand on a route. `to_revision` is null for a disable."""

    revision: int
    actor: str
    reason: str
    at: float
    to_revision: int | None = None


class ShownCanary(Shown):
    """How far a workflow's canary is. A disable or pin of the workflow goes before it."""

    adapter: str
    phase: Phase = Field(
        description="running; promoted: answers everything until the file makes it the target; "
        "aborted: answers nothing until it is resumed or the file names another"
    )
    share: float = Field(description="percent of the requests that it is given")
    step: int = Field(description="which of its steps runs, from 1")
    steps: tuple[float, ...] = Field(description="its shares in percent")
    next_share: float | None = Field(description="null after the last step")
    since: Mark = Field(description="who moved it here, when and why")
    hold_s: float | None = Field(
        description="seconds that a step lasts at least; null: a hand moves it"
    )
    min_answers: int = Field(description="that each check must see in a step")
    left_s: float | None = Field(
        description="seconds until it may be moved on by itself; null: a hand moves it"
    )
    waits_for: list[str] = Field(description="what the guard has not seen yet, on this gateway")

    @classmethod
    def of(cls, progress: CanaryProgress, waits: Outlook | None) -> ShownCanary:
        plan = progress.canary.plan
        return cls(
            adapter=str(progress.canary.target),
            phase=progress.phase,
            share=progress.share,
            step=progress.step + 1,
            steps=plan.steps,
            next_share=progress.next_share,
            since=progress.since,
            hold_s=plan.hold_s,
            min_answers=plan.min_answers,
            left_s=None if waits is None else waits.left_s,
            waits_for=[] if waits is None else list(waits.waits_for),
        )


class ShownRoute(ShownDecision):
    """A workflow of the live table, and how it differs from the file."""

    why: str | None = Field(description="what is wrong with an adapter that it names")
    override: dict[Literal["disabled", "pinned"], ShownHand] | None
    canary: ShownCanary | None = Field(description="the canary that the file names for it")
    file_target: str | None = Field(description="null where the file does not name the workflow")
    differs: bool
    description: str


class Routes(Shown):
    """The live table."""

    revision: int
    workflows: dict[str, ShownRoute]

    @classmethod
    def of(cls, plane: ControlPlane, promotion: Promotion) -> Routes:
        table = plane.table
        workflows = {name: _route(plane, promotion, d) for name, d in table.decisions.items()}
        return cls(revision=table.revision, workflows=workflows)


def _route(plane: ControlPlane, promotion: Promotion, decision: Decision) -> ShownRoute:
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
    progress = canary_of(plane.state, decision.workflow)
    return ShownRoute(
        **dict(ShownDecision.of(decision)),
        canary=(
            None
            if progress is None
            else ShownCanary.of(progress, promotion.outlook(decision.workflow))
        ),
        why=decision.why or None,
        override=override or None,
        file_target=file_target,
        differs=file_target is not None and file_target != str(decision.target),
        description=decision.route.description,
    )
