"""Two evaluations of the same suites, made into pairs: the same item, two scores.

Nothing is dropped to make them fit. Evaluations that do not ask the same things of the same base
are refused.
"""

from __future__ import annotations

import math

from trainer.errors import TrainerError
from trainer.evals.values import Evaluation, Measure, SuiteResult
from trainer.gate.values import PairedScores

_AGAIN = "evaluate both models on the same suites and split again"


def pair(base: Evaluation, adapter: Evaluation) -> tuple[PairedScores, ...]:
    """Every measure's scores of the same items under `base` and `adapter`, in the base's order.

    Raises TrainerError where the two differ in split, base model, suites, suite digests, measures
    or items, where an item lacks a score on one side, or where a score is not a finite number (or,
    of a binary measure, neither 0 nor 1).
    """
    if base.split != adapter.split:
        raise TrainerError(
            f"{base.model} was evaluated on the split {base.split}, {adapter.model} on "
            f"{adapter.split}; {_AGAIN}"
        )
    if base.base_fingerprint != adapter.base_fingerprint:
        raise TrainerError(
            f"{base.model} and {adapter.model} ran on different base models "
            f"({base.base_fingerprint[:12]} and {adapter.base_fingerprint[:12]}); {_AGAIN}"
        )
    theirs = {suite.suite: suite for suite in adapter.suites}
    if alone := {suite.suite for suite in base.suites} ^ theirs.keys():
        raise TrainerError(
            f"only one of {base.model} and {adapter.model} was asked {', '.join(sorted(alone))}; "
            f"{_AGAIN}"
        )
    pairs: list[PairedScores] = []
    for suite in base.suites:
        _check_same(suite, theirs[suite.suite])
        pairs.extend(_scores(measure, suite, theirs[suite.suite]) for measure in suite.measures)
    return tuple(pairs)


def _check_same(base: SuiteResult, adapter: SuiteResult) -> None:
    if base.digest != adapter.digest:
        raise TrainerError(
            f"suite {base.suite} changed between the two evaluations ({base.digest[:12]} and "
            f"{adapter.digest[:12]}); {_AGAIN}"
        )
    if base.measures != adapter.measures:
        raise TrainerError(f"suite {base.suite} was measured in two ways; {_AGAIN}")
    ours, theirs = ([item.id for item in suite.items] for suite in (base, adapter))
    if twice := len(ours) - len(set(ours)):
        raise TrainerError(f"suite {base.suite} holds {twice} item ids twice; make ids unique")
    if sorted(ours) != sorted(theirs):
        odd = sorted(set(ours) ^ set(theirs)) or sorted(theirs)
        raise TrainerError(
            f"suite {base.suite}: the two evaluations do not hold the same items (first: "
            f"{odd[0]}); {_AGAIN}"
        )


def _scores(measure: Measure, base: SuiteResult, adapter: SuiteResult) -> PairedScores:
    """One measure's pairs; items that have no such check on either side are left out."""
    theirs = {item.id: item for item in adapter.items}
    check = measure.check
    ids: list[str] = []
    before: list[float] = []
    after: list[float] = []
    for item in base.items:
        ours, other = item.scores.get(check), theirs[item.id].scores.get(check)
        if ours is None and other is None:
            continue
        for score in (ours, other):
            if score is None or not math.isfinite(score):
                raise TrainerError(
                    f"{measure.name}: item {item.id} has the score {score} on one side; a score "
                    "must be a finite number for both models"
                )
            if measure.binary and score not in (0, 1):
                raise TrainerError(
                    f"{measure.name}: item {item.id} has the score {score}; a binary measure "
                    "gives 0 or 1"
                )
        assert ours is not None
        assert other is not None
        ids.append(item.id)
        before.append(float(ours))
        after.append(float(other))
    if not ids:
        raise TrainerError(
            f"{measure.name}: no item of this split has that check; add items to suite "
            f"{measure.suite}"
        )
    return PairedScores(measure, tuple(ids), tuple(before), tuple(after))
