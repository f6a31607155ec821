"""Checks of answers that are one of a few labels: right or not, and whether one label swallows
the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from trainer.evals.checks.base import Check, ItemCheck, Need, Observation, asks_something
from trainer.evals.checks.text import normalised
from trainer.evals.values import Item

OTHER = "(other)"  # an answer that is none of the labels


class _Labelled(Check):
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ANSWER})
    labels: tuple[str, ...] = Field(min_length=2)

    def fault(self, item: Item) -> str | None:
        if item.expected not in self.labels:
            return f"expected is {item.expected!r}, the labels are {', '.join(self.labels)}"
        return asks_something(item)

    def label_of(self, answer: str) -> str:
        """The label that `answer` is, case and punctuation at the ends aside; else OTHER."""
        said = normalised(answer)
        return next((label for label in self.labels if normalised(label) == said), OTHER)


class Label(_Labelled, ItemCheck):
    """The answer is the right label and nothing else."""

    name: ClassVar[str] = "label"
    binary: ClassVar[bool] = True

    def score(self, seen: Observation) -> float:
        return float(self.label_of(seen.said) == seen.item.expected)

    def figures(self, seen: Sequence[Observation]) -> Mapping[str, Any]:
        """Accuracy, macro F1, recall of each label that occurs, answers and truth counted."""
        # Late: scikit-learn takes a second to import, and most commands never get here.
        from sklearn.metrics import f1_score, recall_score

        truth = [each.item.expected for each in seen]
        said = [self.label_of(each.said) for each in seen]
        present = sorted(set(truth))
        recalls = recall_score(truth, said, labels=present, average=None, zero_division=0.0)
        macro = f1_score(truth, said, labels=present, average="macro", zero_division=0.0)
        return {
            "accuracy": sum(a == b for a, b in zip(truth, said, strict=True)) / len(truth),
            "macro_f1": float(macro),
            "recall": {label: float(r) for label, r in zip(present, recalls, strict=True)},
            "answers": dict(Counter(said).most_common()),
            "truth": dict(Counter(truth).most_common()),
        }


class LabelCollapse(_Labelled):
    """Whether one label swallows the others.

    With m the label that this model answers most often, an item scores
    `[truth is m] - [answer is m]`: the mean is minus the excess of m's share among the answers
    over its share in truth. 0 is perfect balance, -0.9 nearly total collapse.
    """

    name: ClassVar[str] = "label_collapse"

    def scores(self, seen: Sequence[Observation]) -> list[float]:
        most = self._most(seen)
        return [
            float(each.item.expected == most) - float(self.label_of(each.said) == most)
            for each in seen
        ]

    def figures(self, seen: Sequence[Observation]) -> Mapping[str, Any]:
        """The most frequent label among the answers, its share there and in truth."""
        most = self._most(seen)
        if most is None:
            return {"majority": None}
        said = sum(self.label_of(each.said) == most for each in seen)
        truth = sum(each.item.expected == most for each in seen)
        return {
            "majority": most,
            "share_of_answers": said / len(seen),
            "share_of_truth": truth / len(seen),
        }

    def _most(self, seen: Sequence[Observation]) -> str | None:
        counted = Counter(self.label_of(each.said) for each in seen)
        del counted[OTHER]
        # Ties go to the label named first, whatever the order of items.
        return max(self.labels, key=lambda label: counted[label]) if counted else None
