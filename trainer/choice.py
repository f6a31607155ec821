"""Which candidate goes to the gate, decided on the select split. Pure but for `read_choice`.

The select split is small, so no bound is asked of it: a bound would pass over nearly all. A
guardrail holds here if the difference seen is not below its margin. The choice is then judged
with bounds, on items that it has never seen (`trainer.gate`).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from trainer.errors import TrainerError
from trainer.evals.values import Measure, SuiteKind
from trainer.gate.judge import margin_of
from trainer.gate.units import amount, change
from trainer.gate.values import GateRule, PairedScores

# Gains this close, as a share of the best gain, are the same: then the weaker candidate is taken.
_TIE = 0.02
_NOISE = 1e-9  # of differences of floating-point means


@dataclass(frozen=True, slots=True)
class GuardrailPoint:
    """One guardrail's difference on the select split, in its unit, and the margin."""

    measure: str
    family: str
    unit: str
    difference: float
    margin: float

    @property
    def in_margins(self) -> float:
        """The difference in margins: -1 stands on the limit."""
        if self.margin > 0:
            return self.difference / self.margin
        return 0.0 if self.difference >= -_NOISE else float("-inf")

    @property
    def holds(self) -> bool:
        return self.difference >= -self.margin - _NOISE


@dataclass(frozen=True, slots=True)
class CandidateScore:
    """One candidate's place: what it gains and what that costs. `drift` is the norm of its
    update, which orders candidates of equal gain."""

    name: str
    gain: float
    guardrails: tuple[GuardrailPoint, ...]
    drift: float

    @property
    def worst(self) -> GuardrailPoint:
        return min(self.guardrails, key=lambda g: g.in_margins)

    @property
    def holds(self) -> bool:
        return all(g.holds for g in self.guardrails)


@dataclass(frozen=True, slots=True)
class Considered:
    """A candidate with what became of it. `front`: no other gains more at a better worst
    guardrail (the Pareto front)."""

    score: CandidateScore
    front: bool
    reason: str  # why it was chosen or passed over, one sentence


@dataclass(frozen=True, slots=True)
class Choice:
    """The decision: `chosen` goes to the gate; `holds` is False where every candidate breaks a
    guardrail and the best target goes there to be refused on evidence."""

    chosen: str
    holds: bool
    reason: str
    target: str  # the measure that gains are of
    unit: str
    candidates: tuple[Considered, ...]


def score_candidate(
    name: str, pairs: Sequence[PairedScores], rule: GateRule, *, drift: float
) -> CandidateScore:
    """The candidate's place by the primary measures of `pairs`. Raises TrainerError where there
    is no primary target or no primary guardrail."""
    target = primary_target(pairs)
    guardrails = tuple(
        GuardrailPoint(
            p.measure.name,
            p.measure.family,
            p.measure.unit,
            _difference(p),
            margin_of(p.measure, rule),
        )
        for p in pairs
        if p.measure.kind is SuiteKind.GUARDRAIL and p.measure.primary
    )
    if not guardrails:
        raise TrainerError("no guardrail measure to choose by; add a guardrail suite")
    return CandidateScore(name, _difference(target), guardrails, drift)


def choose(scores: Sequence[CandidateScore], target: Measure) -> Choice:
    """The candidate with the best target among those whose guardrails hold; of those within 2% of
    the best gain, the one that drifts least. If none holds, the best target.

    Raises TrainerError where there is no candidate.
    """
    if not scores:
        raise TrainerError("there is no candidate to choose from; train at least one checkpoint")
    holding = [s for s in scores if s.holds]
    pool = holding or list(scores)
    best = max(s.gain for s in pool)
    tied = [s for s in pool if s.gain >= best - _TIE * abs(best) - _NOISE]
    chosen = min(tied, key=lambda s: (s.drift, s.name))
    front = pareto_front(scores)
    return Choice(
        chosen=chosen.name,
        holds=bool(holding),
        reason=_why_chosen(chosen, tied, len(holding), len(scores)),
        target=target.name,
        unit=target.unit,
        candidates=tuple(
            Considered(
                s,
                s.name in front,
                "chosen" if s is chosen else _why_not(s, chosen, target.unit, bool(holding)),
            )
            for s in scores
        ),
    )


def pareto_front(scores: Sequence[CandidateScore]) -> frozenset[str]:
    """Those that no other candidate beats in gain or in worst guardrail (in margins) without
    being beaten in the other."""

    def beats(one: CandidateScore, other: CandidateScore) -> bool:
        ours = (one.gain, one.worst.in_margins)
        theirs = (other.gain, other.worst.in_margins)
        return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))

    return frozenset(s.name for s in scores if not any(beats(other, s) for other in scores))


def early_stop(history: Sequence[CandidateScore], patience: int) -> bool:
    """Whether training should end: of the checkpoints so far, in order, the last `patience` were
    none of them better on the target, with guardrails held, than what came before (the base,
    at no gain, to begin with)."""
    best, stale = 0.0, 0
    for score in history:
        if score.holds and score.gain > best + _NOISE:
            best, stale = score.gain, 0
        else:
            stale += 1
    return stale >= patience


def primary_target(pairs: Sequence[PairedScores]) -> PairedScores:
    """The one primary target measure's scores. Raises TrainerError where there is not one."""
    found = [p for p in pairs if p.measure.kind is SuiteKind.TARGET and p.measure.primary]
    if len(found) != 1:
        raise TrainerError(f"a choice needs exactly one primary target measure, not {len(found)}")
    return found[0]


def choice_to_json(choice: Choice) -> str:
    return json.dumps(asdict(choice), indent=2, allow_nan=False) + "\n"


def read_choice(path: Path) -> Choice:
    """The choice kept at `path`. Raises TrainerError where it is missing or none."""
    try:
        return TypeAdapter(Choice).validate_json(path.read_bytes())
    except OSError as error:
        raise TrainerError(f"{path} cannot be read: {error}; train the run first") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise TrainerError(f"{path} is no choice: {field}: {first['msg']}") from None


def _difference(pairs: PairedScores) -> float:
    return statistics.fmean(pairs.adapter) - statistics.fmean(pairs.base)


def _why_chosen(
    chosen: CandidateScore, tied: Sequence[CandidateScore], holding: int, among: int
) -> str:
    if not holding:
        return (
            f"each of the {among} candidates breaks a guardrail; {chosen.name} has the best target "
            "and goes to the gate to be judged on evidence"
        )
    if len(tied) > 1:
        return (
            f"{chosen.name} drifts least of the {len(tied)} whose gain is within {_TIE:.0%} of the "
            f"best; guardrails hold in {holding} of {among} candidates"
        )
    return (
        f"{chosen.name} gains most of the {holding} candidates (of {among}) whose guardrails hold"
    )


def _why_not(score: CandidateScore, chosen: CandidateScore, unit: str, some_hold: bool) -> str:
    worst = score.worst
    if some_hold and not score.holds:
        return (
            f"breaks {worst.measure}: {change(worst.difference, worst.unit)}, "
            f"{amount(worst.margin, worst.unit)} is allowed"
        )
    if score.gain >= chosen.gain:
        return f"gains as much ({change(score.gain, unit)}) and drifts more"
    return f"gains less ({change(score.gain, unit)} against {change(chosen.gain, unit)})"
