"""The gate: from paired scores to a verdict with its evidence. Pure.

The target must be better; each guardrail must be no worse than its margin allows. What a suite is
too small to show is `undecided`, and undecided is no pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from trainer.errors import RecipeError, TrainerError
from trainer.evals.values import Measure, SuiteKind
from trainer.gate.binary import discordance, mcnemar_exact, tango_interval, tango_p
from trainer.gate.continuous import bca_interval, sign_flip_p, unseen_bounds
from trainer.gate.units import amount, change, p_text
from trainer.gate.values import GateRule, GateVerdict, MeasureVerdict, PairedScores, Verdict

BINARY_METHOD = "mcnemar-exact + tango"
CONTINUOUS_METHOD = "bca-bootstrap + sign-flip"
_PROBABILITIES = "nats/token"  # the unit of scores read off the model's probabilities
_POWER = 0.8  # `items_needed`: the chance to decide with that many items


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure's evidence. `low` and `high` are one-sided bounds at `alpha` each."""

    difference: float
    low: float
    high: float
    p_value: float
    variance: float  # of one item's difference
    method: str


def judge(pairs: Sequence[PairedScores], rule: GateRule) -> GateVerdict:
    """Judge an adapter against the base.

    Raises TrainerError unless exactly one primary target and at least one primary guardrail are
    among `pairs`, and RecipeError for a margin that no measure bears the name of.
    """
    if unknown := set(rule.margins) - {p.measure.name for p in pairs}:
        raise RecipeError(
            f"no suite has the measure {sorted(unknown)[0]}; there are "
            f"{', '.join(sorted(p.measure.name for p in pairs))}",
            field="gate.margins",
        )
    targets = [p for p in pairs if p.measure.kind is SuiteKind.TARGET]
    guardrails = [p for p in pairs if p.measure.kind is SuiteKind.GUARDRAIL]
    primary = [p.measure.name for p in targets if p.measure.primary]
    if len(primary) != 1:
        raise TrainerError(
            f"the gate needs exactly one primary target measure and found {len(primary)} "
            f"({', '.join(primary) or 'none'}); mark one check of the target suite as primary"
        )
    shared = sum(p.measure.primary for p in guardrails)
    if not shared:
        raise TrainerError(
            "no guardrail measure is judged, so nothing would stop an adapter that breaks all but "
            "its task; add a guardrail suite (`default` is the shipped one)"
        )
    target = tuple(_judge_target(p, rule) for p in targets)
    guarded = tuple(_judge_guardrail(p, rule, rule.alpha / shared) for p in guardrails)
    judged = [v for v in (*target, *guarded) if v.measure.primary]
    return GateVerdict(
        verdict=_overall(judged),
        reason=_reason(judged),
        target=target,
        guardrails=guarded,
        rule=rule,
    )


def margin_of(measure: Measure, rule: GateRule) -> float:
    """How much worse `measure` may become: the rule's word, else the suite's."""
    return rule.margins.get(measure.name, measure.margin)


def compare(pairs: PairedScores, *, null: float, alpha: float, rule: GateRule) -> Comparison:
    """One measure's difference with its bounds, and the p of it being `null` or less."""
    if pairs.measure.binary:
        table = discordance(pairs.base, pairs.adapter)
        low, high = tango_interval(table, alpha)
        p_value = mcnemar_exact(table) if null == 0 else tango_p(table, null)
        return Comparison(table.difference, low, high, p_value, table.variance, BINARY_METHOD)
    differences = np.subtract(pairs.adapter, pairs.base)
    draws = {"resamples": rule.resamples, "seed": rule.seed}
    low, high = bca_interval(differences, alpha, **draws)
    unseen_low, unseen_high = unseen_bounds(
        differences, alpha, probabilities=pairs.measure.unit == _PROBABILITIES
    )
    return Comparison(
        difference=float(differences.mean()),
        low=min(low, unseen_low),
        high=max(high, unseen_high),
        p_value=sign_flip_p(differences, null, **draws),
        variance=float(differences.var()),
        method=CONTINUOUS_METHOD,
    )


def items_needed(
    *, items: int, difference: float, variance: float, threshold: float, alpha: float
) -> int | None:
    """About how many items would show on which side of `threshold` the true difference lies, four
    times in five, if it and one item's `variance` are what they seem now.

    The normal approximation of a one-sided test's sample size, n = ((z_alpha + z_beta) * sd /
    distance)^2, but no fewer than let an unseen kind of item reach `threshold` (a sample without
    any change has no variance). None where the difference stands on the threshold itself.
    """
    distance = difference - threshold
    if abs(distance) < 1e-9:
        return None
    z = float(norm.ppf(1 - alpha) + norm.ppf(_POWER))
    normal = z * z * variance / distance**2
    share = min(abs(distance), 0.999)
    unseen = math.log(alpha) / math.log(1 - share)
    return max(items + 1, math.ceil(max(normal, unseen)))


def _judge_target(pairs: PairedScores, rule: GateRule) -> MeasureVerdict:
    seen = compare(pairs, null=0.0, alpha=rule.alpha, rule=rule)
    unit = pairs.measure.unit
    gain, asked = change(seen.difference, unit), amount(rule.min_gain, unit)
    better = seen.p_value <= rule.alpha and seen.low > 0
    if better and seen.difference > rule.min_gain:
        verdict = Verdict.PASS
        reason = f"better by {amount(seen.difference, unit)} ({p_text(seen.p_value)})"
    elif seen.high <= rule.min_gain:
        verdict = Verdict.FAIL
        reason = f"at most {change(seen.high, unit)} is gained"
        reason += f", {asked} was asked" if rule.min_gain else ""
    elif better:
        verdict, reason = Verdict.UNDECIDED, f"better by {gain}, but more than {asked} was asked"
    else:
        verdict = Verdict.UNDECIDED
        reason = f"{gain} with {p_text(seen.p_value)} does not show a gain"
    threshold = rule.min_gain if better or seen.difference <= rule.min_gain else 0.0
    return _measured(pairs, seen, verdict, reason, threshold, rule.alpha)


def _judge_guardrail(pairs: PairedScores, rule: GateRule, alpha: float) -> MeasureVerdict:
    margin = margin_of(pairs.measure, rule)
    seen = compare(pairs, null=-margin, alpha=alpha, rule=rule)
    unit = pairs.measure.unit
    allowed = f"{amount(margin, unit)} is allowed"
    if seen.low > -margin:
        verdict = Verdict.PASS
        reason = f"no worse than {amount(-seen.low, unit)}, {allowed}"
        if seen.low > 0:
            reason = f"better by at least {amount(seen.low, unit)}"
    elif seen.high < -margin:
        verdict, reason = Verdict.FAIL, f"worse by at least {amount(-seen.high, unit)}, {allowed}"
    elif seen.high < 0 and seen.difference <= -margin:
        verdict = Verdict.FAIL
        reason = f"worse beyond doubt, by about {amount(-seen.difference, unit)}; {allowed}"
    else:
        verdict = Verdict.UNDECIDED
        reason = f"{change(seen.difference, unit)} may be {change(seen.low, unit)}; {allowed}"
    return _measured(pairs, seen, verdict, reason, -margin, alpha)


def _measured(
    pairs: PairedScores,
    seen: Comparison,
    verdict: Verdict,
    reason: str,
    threshold: float,
    alpha: float,
) -> MeasureVerdict:
    items = len(pairs.ids)
    needed = None
    if verdict is Verdict.UNDECIDED:
        needed = items_needed(
            items=items,
            difference=seen.difference,
            variance=seen.variance,
            threshold=threshold,
            alpha=alpha,
        )
        reason += (
            f"; about {needed} items would decide, there are {items}"
            if needed
            else f"; it stands on the limit itself, which more than {items} items may not decide"
        )
    return MeasureVerdict(
        measure=pairs.measure,
        verdict=verdict,
        items=items,
        base=float(np.mean(pairs.base)),
        adapter=float(np.mean(pairs.adapter)),
        difference=seen.difference,
        low=seen.low,
        high=seen.high,
        confidence=1 - alpha,
        method=seen.method,
        p_value=seen.p_value,
        items_needed=needed,
        reason=reason,
    )


def _overall(judged: Sequence[MeasureVerdict]) -> Verdict:
    verdicts = {v.verdict for v in judged}
    for worst in (Verdict.FAIL, Verdict.UNDECIDED):
        if worst in verdicts:
            return worst
    return Verdict.PASS


def _reason(judged: Sequence[MeasureVerdict]) -> str:
    """One sentence that names what decided it, worst first."""
    verdict = _overall(judged)
    if verdict is Verdict.PASS:
        target = next(v for v in judged if v.measure.kind is SuiteKind.TARGET)
        return (
            f"{target.measure.name} is {target.reason}; all {len(judged) - 1} guardrails hold "
            "within their margins"
        )
    named = [v for v in judged if v.verdict is verdict]
    more = f" (and {len(named) - 3} more)" if len(named) > 3 else ""
    return "; ".join(f"{v.measure.name}: {v.reason}" for v in named[:3]) + more
