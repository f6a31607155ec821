"""What the shadows have shown, for the admin API."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from gateway.api.answers import Shown
from gateway.guard.pairs import Form
from gateway.guard.shadow_tally import CheckTally, Likelihood, Outcome, Tally
from gateway.guard.values import CheckKind


class ShownPairCheck(Shown):
    """One check of the route over the pairs that it scored on both sides."""

    check: CheckKind
    pairs: int
    rate: float = Field(description="the bad rate of the target's answers")
    shadow_rate: float = Field(description="the bad rate of the shadow's, on the same requests")

    @classmethod
    def of(cls, kind: CheckKind, tally: CheckTally) -> ShownPairCheck:
        return cls(
            check=kind,
            pairs=tally.pairs,
            rate=tally.bad / tally.pairs,
            shadow_rate=tally.shadow_bad / tally.pairs,
        )


class ShownShadow(Shown):
    """A route beside its shadow. Counts are of the route's version seen last, of this gateway
    alone, and since it started."""

    workflow: str
    target: str
    shadow: str = Field(description="what is asked as well: base or name@version")
    share: float = Field(description="which part of the target's requests, in percent")
    pairs: int = Field(description="pairs of answers that were compared")
    outcomes: dict[Outcome, int] = Field(
        description="what came of the requests that were to be asked again; all but compared are "
        "lost to the comparison: full (too many waited), late (live requests left no room), stale "
        "(the route changed), unavailable (the shadow's adapter), failed"
    )
    form: Form = Field(
        description="what agreement means: text (the same), label (the same label) or json (the "
        "share of fields that both have, F1)"
    )
    agreement: float | None = Field(description="the mean over pairs, from 0 to 1")
    checks: list[ShownPairCheck]
    target_surprise: float | None = Field(
        description="how unlikely the target's answers are to the shadow, in nats a token"
    )
    shadow_surprise: float | None = Field(
        description="how unlikely the shadow's answers are to the target, in nats a token"
    )

    @classmethod
    def of(cls, tally: Tally) -> ShownShadow:
        shadow = tally.route.shadow
        assert shadow is not None
        return cls(
            workflow=tally.route.workflow,
            target=str(tally.target),
            shadow=str(shadow.target),
            share=shadow.share,
            pairs=tally.pairs,
            outcomes=dict(tally.outcomes),
            form=tally.form,
            agreement=tally.agreement / tally.pairs if tally.pairs else None,
            checks=[ShownPairCheck.of(kind, each) for kind, each in tally.checks.items()],
            target_surprise=_surprise(tally.likelihoods, "target"),
            shadow_surprise=_surprise(tally.likelihoods, "shadow"),
        )


def _surprise(known: Mapping[str, Likelihood], whose: str) -> float | None:
    found = known.get(whose)
    return None if found is None or not found.tokens else -found.nats / found.tokens
