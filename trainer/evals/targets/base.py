"""One contract for everything that can be evaluated: answer a question, score a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class PlainEncoder(Protocol):
    """The part of a `TextCodec` that turns text into token ids."""

    def encode(self, text: str) -> list[int]: ...

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]: ...


def prompt_tokens(text: PlainEncoder, context: Context) -> tuple[int, ...]:
    """The token ids that an answer to `context` follows."""
    if context.messages:
        return tuple(text.encode_chat(context.messages))
    return tuple(text.encode(context.prompt))


def scored_tokens(
    text: PlainEncoder, context: Context, continuation: str
) -> tuple[tuple[int, ...], int]:
    """Token ids of context and continuation, and the index of the first that is scored.

    Plain text is encoded as one, so that tokens at the seam are those the model has learnt (as
    lm-evaluation-harness does); a conversation ends in a special token, so its answer is encoded
    by itself.
    """
    if context.messages:
        before = text.encode_chat(context.messages)
        special = len(text.encode(""))  # what a bare prompt gets, such as a BOS token
        return (*before, *text.encode(continuation)[special:]), len(before)
    whole = tuple(text.encode(context.prompt + continuation))
    if not context.prompt:
        return whole, 1
    # Spaces at the end of the context become part of the continuation's first token.
    before = text.encode(context.prompt.rstrip(" "))
    return whole, max(1, _shared(before, whole))


def _shared(before: Sequence[int], whole: Sequence[int]) -> int:
    """How many leading tokens are the same: fewer than all where the seam is one token."""
    for i, (a, b) in enumerate(zip(before, whole, strict=False)):
        if a != b:
            return i
    return min(len(before), len(whole))
