"""Only evaluations that asked the same of the same base are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trainer.gate.evaluations import FACTS, FLUENCY, TARGET, Asked, evaluation
from trainer.errors import TrainerError
from trainer.evals.values import Evaluation, ItemResult, Split, SuiteResult
from trainer.gate.pairing import pair

BASE = evaluation("base", Asked(TARGET, [0, 1, 0]), Asked(FLUENCY, [-2.0, -3.0]))
TUNED = evaluation("tuned", Asked(TARGET, [1, 1, 0]), Asked(FLUENCY, [-2.5, -3.0]))


def _suite(of: Evaluation, index: int, suite: SuiteResult) -> Evaluation:
    suites = list(of.suites)
    suites[index] = suite
    return replace(of, suites=tuple(suites))


def test_scores_are_paired_by_item_id_not_by_place() -> None:
    turned = _suite(
        TUNED, 0, replace(TUNED.suites[0], items=tuple(reversed(TUNED.suites[0].items)))
    )
    paired = pair(BASE, turned)
    assert [p.measure for p in paired] == [TARGET, FLUENCY]
    assert list(paired[0].base) == [0, 1, 0]
    assert list(paired[0].adapter) == [1, 1, 0]
    assert paired[0].ids == ("0", "1", "2")


def test_items_without_the_check_on_both_sides_are_left_out() -> None:
    extra = ItemResult("x", {"other": 1.0})
    base = _suite(BASE, 0, replace(BASE.suites[0], items=(*BASE.suites[0].items, extra)))
    tuned = _suite(TUNED, 0, replace(TUNED.suites[0], items=(*TUNED.suites[0].items, extra)))
    assert pair(base, tuned)[0].ids == ("0", "1", "2")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (replace(TUNED, split=Split.SELECT), "split"),
        (replace(TUNED, base_fingerprint="0" * 64), "different base models"),
        (replace(TUNED, suites=TUNED.suites[:1]), "fluency"),
        (_suite(TUNED, 0, replace(TUNED.suites[0], digest="e" * 64)), "triage changed"),
        (_suite(TUNED, 0, replace(TUNED.suites[0], measures=(FACTS,))), "two ways"),
        (_suite(TUNED, 0, replace(TUNED.suites[0], items=TUNED.suites[0].items[:2])), "first: 2"),
        (
            _suite(
                TUNED,
                0,
                replace(TUNED.suites[0], items=(*TUNED.suites[0].items[:2], ItemResult("2", {}))),
            ),
            "item 2",
        ),
        (
            _suite(
                TUNED,
                0,
                replace(
                    TUNED.suites[0],
                    items=(*TUNED.suites[0].items[:2], ItemResult("2", {"label": 0.5})),
                ),
            ),
            "0 or 1",
        ),
        (
            _suite(
                TUNED,
                1,
                replace(
                    TUNED.suites[1],
                    items=(TUNED.suites[1].items[0], ItemResult("1", {"nll": float("nan")})),
                ),
            ),
            "finite",
        ),
    ],
)
def test_what_does_not_match_is_refused_by_name(changed: Evaluation, said: str) -> None:
    with pytest.raises(TrainerError, match=said):
        pair(BASE, changed)


def test_a_measure_without_items_is_refused() -> None:
    base, tuned = (evaluation(name, Asked(TARGET, [])) for name in ("base", "tuned"))
    with pytest.raises(TrainerError, match="add items"):
        pair(base, tuned)
