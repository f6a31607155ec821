"""What the shadow of one version of a route has shown so far, and as metrics of its route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.guard.detectors import Detector, Pair, detector
from gateway.guard.pairs import Form, agreement, form_of
from gateway.guard.values import OF_TEXT, CheckKind, CheckRule
from gateway.metrics import Metrics
from gateway.routing.table import Decision, Route, Target


class Outcome(StrEnum):
    """What became of a request that was to be asked again."""

    COMPARED = "compared"
    FULL = "full"  # too many were waiting
    LATE = "late"  # live requests left no room for it in time
    STALE = "stale"  # the route has changed since
    UNAVAILABLE = "unavailable"  # the shadow's adapter is revoked, or not here
    FAILED = "failed"  # the engine refused it or failed


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely an answer is to the other model: the sum of its tokens' natural-log
    probabilities, each given prompt and answer before it."""

    nats: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What one pair came to. `scores` are those of the route's checks, target then shadow."""

    agreement: float
    scores: Mapping[CheckKind, tuple[float, float]]
    likelihoods: Mapping[str, Likelihood]  # of the answer of "target" or "shadow", under the other


@dataclass(slots=True)
class CheckTally:
    """One check over all pairs that it scores on both sides."""

    pairs: int = 0
    bad: float = 0.0  # the sum of the target's scores
    shadow_bad: float = 0.0


@dataclass(slots=True, eq=False)
class Tally:
    """One version of a route beside its shadow. Written by its owner alone (`Shadows`)."""

    route: Route
    target: Target
    form: Form
    detectors: Mapping[CheckKind, Detector]
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    agreement: float = 0.0  # the sum over pairs
    checks: dict[CheckKind, CheckTally] = field(default_factory=dict)
    likelihoods: dict[str, Likelihood] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        return self.outcomes.get(Outcome.COMPARED, 0)

    def score(self, pair: Pair, likelihoods: Mapping[str, Likelihood]) -> Compared:
        """What a pair comes to. Reads nothing that `take` writes: for any thread."""
        scores = {}
        for kind, detect in self.detectors.items():
            one, other = detect(pair.answered), detect(pair.compared)
            if one is not None and other is not None:
                scores[kind] = (one, other)
        agreed = agreement(pair.answered.text, pair.compared.text, self.form)
        return Compared(agreed, scores, likelihoods)

    def is_of(self, decision: Decision) -> bool:
        """Whether `decision` is of this version of the route."""
        return self.target == decision.target and self.route == decision.route

    def note(self, outcome: Outcome) -> None:
        """Count one request."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def take(self, metrics: Metrics, compared: Compared) -> None:
        """Count what one pair came to."""
        workflow = self.route.workflow
        self.note(Outcome.COMPARED)
        metrics.shadow_requests.labels(workflow, Outcome.COMPARED).inc()
        self.agreement += compared.agreement
        metrics.shadow_agreement.labels(workflow).inc(compared.agreement)
        for kind, (one, other) in compared.scores.items():
            check = self.checks.setdefault(kind, CheckTally())
            check.pairs += 1
            check.bad += one
            check.shadow_bad += other
            metrics.shadow_answers.labels(workflow, kind).inc()
            metrics.shadow_bad.labels(workflow, kind, "target").inc(one)
            metrics.shadow_bad.labels(workflow, kind, "shadow").inc(other)
        for whose, more in compared.likelihoods.items():
            known = self.likelihoods.get(whose, Likelihood(0.0, 0))
            self.likelihoods[whose] = Likelihood(known.nats + more.nats, known.tokens + more.tokens)
            metrics.shadow_nats.labels(workflow, whose).inc(-more.nats)
            metrics.shadow_tokens.labels(workflow, whose).inc(more.tokens)


def tally_of(decision: Decision) -> Tally:
    """An empty tally for the version of the route that `decision` is of."""
    route = decision.route
    detectors: dict[CheckKind, Detector] = {
        check.kind: detector(check, route.response_schema)
        for check in _checks(route)
        if check.kind in OF_TEXT and check.kind is not CheckKind.COLLAPSE
    }
    return Tally(route, decision.target, form_of(route), detectors)


def _checks(route: Route) -> tuple[CheckRule, ...]:
    """The checks of the route's guard; without one, those that need no setting."""
    if route.guard is not None:
        return route.guard.checks
    kinds = [CheckKind.EMPTY, CheckKind.REPETITION, CheckKind.CUT]
    if route.response_schema is not None:
        kinds.append(CheckKind.SCHEMA)
    return tuple(CheckRule(kind) for kind in kinds)
