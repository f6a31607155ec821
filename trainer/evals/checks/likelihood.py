"""Checks that read probabilities instead of answers: multiple choice, perplexity, KL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from trainer.evals.checks.base import ItemCheck, Likelihood, Need, Observation, asks_something
from trainer.evals.values import Item


class _Choice(ItemCheck):
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CHOICES})

    def fault(self, item: Item) -> str | None:
        if len(item.choices) < 2 or item.gold is None:
            return "the item needs two choices or more, and gold"
        if not all(choice.strip() for choice in item.choices):
            return "a choice is empty"
        return asks_something(item)


class MultipleChoice(_Choice):
    """The right choice has the best log-likelihood per character.

    Normalised by the choice's length in characters, as `acc_norm` of EleutherAI's
    lm-evaluation-harness.
    """

    name: ClassVar[str] = "multiple_choice"
    binary: ClassVar[bool] = True

    def score(self, seen: Observation) -> float:
        per_character = [
            likelihood.total / len(choice)
            for likelihood, choice in zip(seen.choices, seen.item.choices, strict=True)
        ]
        return float(per_character.index(max(per_character)) == seen.item.gold)


class ChoiceProbability(_Choice):
    """The probability of the right choice among the choices (softmax of their log-likelihoods).

    Says of each item how sure, not just whether: its paired differences are far less noisy than
    right and wrong, so that fewer items decide.
    """

    name: ClassVar[str] = "choice_probability"

    def score(self, seen: Observation) -> float:
        totals = [likelihood.total for likelihood in seen.choices]
        best = max(totals)
        weights = [math.exp(total - best) for total in totals]
        assert seen.item.gold is not None
        return weights[seen.item.gold] / sum(weights)


class Perplexity(ItemCheck):
    """The mean log-likelihood of a text's tokens: minus the natural log of its perplexity."""

    name: ClassVar[str] = "perplexity"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEXT})
    unit: ClassVar[str] = "nats/token"

    def fault(self, item: Item) -> str | None:
        return None if item.text.strip() else "the item needs a text"

    def score(self, seen: Observation) -> float:
        assert seen.text is not None
        return seen.text.mean

    def figures(self, seen: Sequence[Observation]) -> Mapping[str, Any]:
        """Perplexity over all tokens of the suite."""
        read = [each.text for each in seen if each.text is not None]
        tokens = sum(len(text.logprobs) for text in read)
        return {"perplexity": math.exp(-sum(text.total for text in read) / tokens)}


class Kl(ItemCheck):
    """Minus KL(base || model), nats a token, on the base's own answer. The base scores 0.

    Each token x of an answer that the base sampled gives the estimate `log p_base(x) -
    log p_model(x)`: unbiased where the answers are sampled at temperature 1, so set that in the
    suite's generation (J. Schulman, "Approximating KL Divergence", 2020, estimator k1). His k3,
    which adds r - 1 for r = p_model(x) / p_base(x), varies less for models that hardly differ, but
    as r squared: one token that a tune finds sixty times likelier outweighs a whole suite.
    """

    name: ClassVar[str] = "kl"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.REFERENCE, Need.REFERENCE_LIKELIHOOD})
    unit: ClassVar[str] = "nats/token"

    def score(self, seen: Observation) -> float:
        assert seen.reference is not None
        return -divergence(seen.reference.likelihood, seen.on_reference)


def divergence(base: Likelihood | None, model: Likelihood | None) -> float:
    """The mean log-likelihood ratio over tokens that the base sampled: an estimate of
    KL(base || model), which a few tokens may put under 0."""
    assert base is not None
    assert model is not None
    pairs = list(zip(base.logprobs, model.logprobs, strict=True))
    if not pairs:  # the base had nothing to say
        return 0.0
    return sum(p - q for p, q in pairs) / len(pairs)
