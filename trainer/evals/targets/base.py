"""One contract for everything that can be evaluated: answer a question, score a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.engine import continuation
from gateway.engine.continuation import PlainEncoder
from trainer.evals.checks.base import Answered, Likelihood
from trainer.evals.suite import Generation

BASE = "base"  # the name of the base model's evaluation


@dataclass(frozen=True, slots=True)
class Context:
    """What comes first: a conversation, or plain text where there are no messages."""

    messages: tuple[Mapping[str, str], ...] = ()
    prompt: str = ""


class Target(Protocol):
    """One model under evaluation. Many calls may be awaited at once; a target bounds what it has
    in flight itself. Failures are GatewayError or EvaluationError."""

    @property
    def name(self) -> str:
        """The evaluation's name: `base`, or the candidate's."""
        ...

    @property
    def base_fingerprint(self) -> str: ...

    @property
    def adapter_digest(self) -> str | None:
        """None for the base."""
        ...

    async def answer(self, context: Context, generation: Generation) -> Answered:
        """What the model says to `context`."""
        ...

    async def score(self, context: Context, continuation: str) -> Likelihood:
        """The log-probabilities of `continuation`'s tokens after `context`.

        After an empty context the first token has no probability and is left out.
        """
        ...


def prompt_tokens(text: PlainEncoder, context: Context) -> tuple[int, ...]:
    """The token ids that an answer to `context` follows."""
    return continuation.prompt_tokens(text, context.messages, context.prompt)


def scored_tokens(text: PlainEncoder, context: Context, scored: str) -> tuple[tuple[int, ...], int]:
    """Token ids of context and `scored`, and the index of the first that is scored."""
    return continuation.scored_tokens(text, context.messages, context.prompt, scored)
