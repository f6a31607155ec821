"""What a check is: a pure function from what a model made of the items to a score for each.

Higher is better, always. A check says what it needs a model to do; the runner asks for the union
of a suite's needs once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from trainer.evals.values import Item


class Need(StrEnum):
    ANSWER = "answer"  # a generated answer to the item
    CHOICES = "choices"  # the log-likelihood of each choice
    TEXT = "text"  # the log-likelihood of the item's text
    REFERENCE = "reference"  # the base model's answer to the same item
    REFERENCE_LIKELIHOOD = "reference_likelihood"  # that answer's log-likelihood, under both


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Natural-log probabilities of a text's tokens, each given all before it."""

    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.logprobs)

    @property
    def mean(self) -> float:
        """Nats a token; NaN for no tokens."""
        return self.total / len(self.logprobs) if self.logprobs else float("nan")


@dataclass(frozen=True, slots=True)
class Answered:
    """A generated answer. `finish` is the engine's reason ("stop", "length")."""

    text: str
    finish: str


@dataclass(frozen=True, slots=True)
class Reference:
    """What the base model made of the item."""

    answer: Answered
    likelihood: Likelihood | None = None  # of its answer, under itself


@dataclass(frozen=True, slots=True)
class Observation:
    """What one model made of one item: the parts that the suite's checks need."""

    item: Item
    answer: Answered | None = None
    choices: tuple[Likelihood, ...] = ()
    text: Likelihood | None = None
    reference: Reference | None = None
    on_reference: Likelihood | None = None  # of the base's answer, under this model

    @property
    def said(self) -> str:
        """The answer's text, trimmed. Only for checks that need an answer."""
        assert self.answer is not None
        return self.answer.text.strip()


class Check(BaseModel, ABC):
    """One check with its parameters as fields. Subclasses set the class variables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    needs: ClassVar[frozenset[Need]]
    binary: ClassVar[bool] = False
    unit: ClassVar[str] = "share"

    def fault(self, item: Item) -> str | None:
        """What `item` lacks for this check, as a sentence; None where it will do."""
        if Need.ANSWER in self.needs or Need.REFERENCE in self.needs:
            return asks_something(item)
        return None

    @abstractmethod
    def scores(self, seen: Sequence[Observation]) -> list[float]:
        """A score for each item of a suite."""

    def figures(self, seen: Sequence[Observation]) -> Mapping[str, Any]:
        """Figures of the whole suite, for reports."""
        return {}


class ItemCheck(Check):
    """A check whose score of an item depends on that item alone."""

    @abstractmethod
    def score(self, seen: Observation) -> float:
        """This item's score."""

    def scores(self, seen: Sequence[Observation]) -> list[float]:
        return [self.score(each) for each in seen]


def asks_something(item: Item) -> str | None:
    """The fault of an item that has neither messages nor a prompt."""
    if not item.messages and not item.prompt:
        return "the item needs messages or a prompt"
    return None
