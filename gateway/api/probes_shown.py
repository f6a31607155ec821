"""What the probes have shown, for the admin API."""

from __future__ import annotations

from pydantic import Field

from gateway.api.answers import Shown
from gateway.guard.watched import Arm
from gateway.probes.runner import Probed, RoundEnd, Tally


class ShownSuite(Shown):
    """One suite of a set, asked of both."""

    suite: str
    pairs: int = Field(description="items that both were asked")
    base: float = Field(description="the mean score of the base; 1 is bad")
    target: float = Field(description="the mean score of the target, on the same items")

    @classmethod
    def of(cls, suite: str, tally: Tally) -> ShownSuite:
        return cls(
            suite=suite,
            pairs=tally.pairs,
            base=tally.base / tally.pairs,
            target=tally.target / tally.pairs,
        )


class ShownProbes(Shown):
    """A route under probes. Counts are of the route's version in force, of this gateway alone, and
    since it started; the guard's check `probes` has the evidence."""

    workflow: str
    arm: Arm = Field(description="control: the route's target; canary: its canary")
    target: str
    set: str = Field(description="the probe set's name")
    every_s: float
    items: int = Field(description="items of a round at most")
    rounds: int
    last: RoundEnd | None = Field(
        description="how the last round ended: whole, cut (live load left no room), changed (the "
        "route did meanwhile) or failed"
    )
    fault: str = Field(description="what kept the last round from items; empty: nothing")
    suites: list[ShownSuite]

    @classmethod
    def of(cls, probed: Probed) -> ShownProbes:
        rule = probed.rule
        return cls(
            workflow=probed.decision.workflow,
            arm=probed.arm,
            target=str(probed.decision.target),
            set=rule.set,
            every_s=rule.every_s,
            items=rule.items,
            rounds=probed.rounds,
            last=probed.last,
            fault=probed.fault,
            suites=[ShownSuite.of(name, tally) for name, tally in sorted(probed.suites.items())],
        )
