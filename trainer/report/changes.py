"""Item by item: what the adapter says otherwise than the base, worst first. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.evals.values import Evaluation, Item, SuiteKind
from trainer.gate.judge import margin_of
from trainer.gate.values import GateRule, PairedScores
from trainer.report.values import (
    ItemChange,
    LabelDistribution,
    LabelShare,
    MeasureChanges,
)

SHOWN = 12  # items a measure; a page of thousands is read by nobody
_TEXT = 2000  # characters of a question or an answer

Questions = Mapping[tuple[str, str], Item]  # by suite and item id


def changed_items(
    pairs: Sequence[PairedScores],
    base: Evaluation,
    adapter: Evaluation,
    questions: Questions,
    rule: GateRule,
    *,
    shown: int = SHOWN,
) -> tuple[MeasureChanges, ...]:
    """Every primary measure's changed items, guardrails first, at most `shown` of each."""
    found = [
        _of_measure(each, base, adapter, questions, rule, shown)
        for each in pairs
        if each.measure.primary
    ]
    found.sort(key=_reading_order)
    return tuple(found)


def _reading_order(changes: MeasureChanges) -> tuple[bool, bool, float]:
    """Guardrails first, those with answers to read first, most harmed first."""
    silent = not any(c.base_answer or c.adapter_answer for c in changes.shown)
    return changes.kind is SuiteKind.TARGET, silent, -changes.worse / changes.items


def label_distributions(base: Evaluation, adapter: Evaluation) -> tuple[LabelDistribution, ...]:
    """The labels of every suite that counts them (check `label`), most frequent in truth first."""
    found = []
    for suite in base.suites:
        before = suite.figures.get("label", {})
        after = adapter.suite(suite.suite).figures.get("label", {})
        if not before or not after:
            continue
        truth, ours, theirs = (
            _shares(counts) for counts in (before["truth"], before["answers"], after["answers"])
        )
        names = sorted(
            {*truth, *ours, *theirs}, key=lambda label: (-truth.get(label, 0), str(label))
        )
        found.append(
            LabelDistribution(
                suite.suite,
                tuple(
                    LabelShare(
                        str(label), truth.get(label, 0), ours.get(label, 0), theirs.get(label, 0)
                    )
                    for label in names
                ),
            )
        )
    return tuple(found)


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {label: count / total for label, count in counts.items()} if total else {}


def _of_measure(
    pairs: PairedScores,
    base: Evaluation,
    adapter: Evaluation,
    questions: Questions,
    rule: GateRule,
    shown: int,
) -> MeasureChanges:
    measure = pairs.measure
    scale = margin_of(measure, rule) or 1.0
    before = {item.id: item for item in base.suite(measure.suite).items}
    after = {item.id: item for item in adapter.suite(measure.suite).items}
    changes = []
    for item_id, ours, theirs in zip(pairs.ids, pairs.base, pairs.adapter, strict=True):
        if ours == theirs:
            continue
        item = questions.get((measure.suite, item_id))
        changes.append(
            ItemChange(
                measure=measure.name,
                kind=measure.kind,
                id=item_id,
                question=_cut(_question(item)),
                expected=_cut(_expected(item)),
                base_answer=_cut(before[item_id].answer),
                adapter_answer=_cut(after[item_id].answer),
                base_score=ours,
                adapter_score=theirs,
                weight=(theirs - ours) / scale,
            )
        )
    changes.sort(key=lambda c: (c.weight, c.id))
    return MeasureChanges(
        measure=measure.name,
        kind=measure.kind,
        worse=sum(c.worse for c in changes),
        better=sum(not c.worse for c in changes),
        items=len(pairs.ids),
        shown=tuple(changes[:shown]),
    )


def _question(item: Item | None) -> str:
    if item is None:
        return ""
    if item.messages:
        asked = [m["content"] for m in item.messages if m["role"] != "system"]
        return "\n\n".join(asked)
    return item.prompt or item.text


def _expected(item: Item | None) -> str:
    if item is None:
        return ""
    if item.choices and item.gold is not None:
        return item.choices[item.gold]
    value: Any = item.expected
    return "" if value is None else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} … ({len(text)} characters)"
