"""A text after a context, as the engine takes it: its tokens, and which of them are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class PlainEncoder(Protocol):
    """The part of a `TextCodec` that turns text into token ids."""

    def encode(self, text: str) -> list[int]: ...

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]: ...


def prompt_tokens(
    text: PlainEncoder, messages: Sequence[Mapping[str, str]], prompt: str
) -> tuple[int, ...]:
    """The token ids that an answer follows: to a conversation, or to plain text where there is
    none."""
    return tuple(text.encode_chat(messages) if messages else text.encode(prompt))


def scored_tokens(
    text: PlainEncoder, messages: Sequence[Mapping[str, str]], prompt: str, continuation: str
) -> tuple[tuple[int, ...], int]:
    """Token ids of context and continuation, and the index of the first that is scored.

    Plain text is encoded as one, so that tokens at the seam are those the model has learnt (as
    lm-evaluation-harness does); a conversation ends in a special token, so its answer is encoded
    by itself.
    """
    if messages:
        before = text.encode_chat(messages)
        special = len(text.encode(""))  # what a bare prompt gets, such as a BOS token
        return (*before, *text.encode(continuation)[special:]), len(before)
    whole = tuple(text.encode(prompt + continuation))
    if not prompt:
        return whole, 1
    # Spaces at the end of the context become part of the continuation's first token.
    before = text.encode(prompt.rstrip(" "))
    return whole, max(1, _shared(before, whole))


def _shared(before: Sequence[int], whole: Sequence[int]) -> int:
    """How many leading tokens are the same: fewer than all where the seam is one token."""
    for i, (a, b) in enumerate(zip(before, whole, strict=False)):
        if a != b:
            return i
    return min(len(before), len(whole))
