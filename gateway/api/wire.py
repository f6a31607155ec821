"""OpenAI's answer shapes, made from deltas. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.api.answering import Answer
from gateway.engine.base import Delta, TextCodec, TokenLogprob
from gateway.routing.table import Decision


class Shape(Protocol):
    """How answers of one endpoint look."""

    def whole(self, answers: Sequence[Answer], parts: Sequence[Sequence[Delta]]) -> dict[str, Any]:
        """The whole answer; `parts` are each answer's deltas."""
        ...

    def opening(self, choices: int) -> Iterable[dict[str, Any]]:
        """Chunks before the first delta."""
        ...

    def chunk(self, delta: Delta) -> dict[str, Any]: ...

    def usage_chunk(self, answers: Sequence[Answer]) -> dict[str, Any]: ...


def model(decision: Decision) -> dict[str, Any]:
    """A workflow as `/v1/models` lists it."""
    return {"id": decision.workflow, "object": "model", "created": 0, "owned_by": "gateway"}


def usage(answers: Sequence[Answer]) -> dict[str, int]:
    """Tokens in and out."""
    prompt = sum(len(answer.prompt) for answer in answers)
    completion = sum(answer.tokens_out for answer in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


@dataclass(frozen=True, slots=True)
class Chat:
    """`chat.completion` and its chunks."""

    id: str
    model: str
    created: int

    def whole(self, answers: Sequence[Answer], parts: Sequence[Sequence[Delta]]) -> dict[str, Any]:
        """See `Shape.whole`."""
        choices = []
        for index in range(answers[0].n):
            mine = [delta for delta in parts[0] if delta.index == index]
            scores = [score for delta in mine for score in _of_content(delta)]
            choices.append(
                {
                    "index": index,
                    "message": {"role": "assistant", "content": "".join(d.text for d in mine)},
                    "logprobs": {"content": [_chat_logprob(s) for s in scores]} if scores else None,
                    "finish_reason": mine[-1].finish,
                }
            )
        return {**self._envelope("chat.completion"), "choices": choices, "usage": usage(answers)}

    def opening(self, choices: int) -> Iterable[dict[str, Any]]:
        """A role delta for each choice."""
        for index in range(choices):
            yield self._chunk(index, {"role": "assistant", "content": ""}, None, None)

    def chunk(self, delta: Delta) -> dict[str, Any]:
        """See `Shape.chunk`."""
        of_content = _of_content(delta)
        scores = {"content": [_chat_logprob(s) for s in of_content]} if of_content else None
        content = {"content": delta.text} if delta.text or delta.finish is None else {}
        return self._chunk(delta.index, content, delta.finish, scores)

    def usage_chunk(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """See `Shape.usage_chunk`."""
        envelope = self._envelope("chat.completion.chunk")
        return {**envelope, "choices": [], "usage": usage(answers)}

    def _chunk(self, index: int, delta: dict[str, Any], finish: Any, scores: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": scores, "finish_reason": finish}
        return {**self._envelope("chat.completion.chunk"), "choices": [choice]}

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True, slots=True)
class Completion:
    """`text_completion`, whole and in chunks."""

    id: str
    model: str
    created: int
    echo: bool
    text: TextCodec

    def whole(self, answers: Sequence[Answer], parts: Sequence[Sequence[Delta]]) -> dict[str, Any]:
        """See `Shape.whole`. Choices of several prompts follow one another."""
        choices: list[dict[str, Any]] = []
        for answer, deltas in zip(answers, parts, strict=True):
            prompt = self.text.decode(answer.prompt) if self.echo else ""
            for index in range(answer.n):
                mine = [delta for delta in deltas if delta.index == index]
                scores = [s for d in mine for s in (*(d.prompt_logprobs or ()), *d.logprobs)]
                choices.append(
                    {
                        "index": len(choices),
                        "text": prompt + "".join(delta.text for delta in mine),
                        "logprobs": _completion_logprobs(scores) if scores else None,
                        "finish_reason": mine[-1].finish,
                    }
                )
        return {**self._envelope(), "choices": choices, "usage": usage(answers)}

    def opening(self, choices: int) -> Iterable[dict[str, Any]]:
        """Nothing comes before the first delta."""
        return ()

    def chunk(self, delta: Delta) -> dict[str, Any]:
        """See `Shape.chunk`."""
        choice = {
            "index": delta.index,
            "text": delta.text,
            "logprobs": _completion_logprobs(delta.logprobs) if delta.logprobs else None,
            "finish_reason": delta.finish,
        }
        return {**self._envelope(), "choices": [choice]}

    def usage_chunk(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """See `Shape.usage_chunk`."""
        return {**self._envelope(), "choices": [], "usage": usage(answers)}

    def _envelope(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
        }


def _of_content(delta: Delta) -> tuple[TokenLogprob, ...]:
    """The scores of a message's content: the token that ended it is not part of that."""
    return delta.logprobs[: len(delta.token_ids)]


def _chat_logprob(score: TokenLogprob) -> dict[str, Any]:
    return {
        "token": score.text,
        "logprob": score.logprob,
        "bytes": list(score.raw),
        "top_logprobs": [
            {"token": top.text, "logprob": top.logprob, "bytes": list(top.raw)} for top in score.top
        ],
    }


def _completion_logprobs(scores: Sequence[TokenLogprob]) -> dict[str, Any]:
    offsets, at = [], 0
    for score in scores:
        offsets.append(at)
        at += len(score.text)
    return {
        "tokens": [score.text for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [
            None if score.logprob is None else _best_by_text(score) for score in scores
        ],
        "text_offset": offsets,
    }


def _best_by_text(score: TokenLogprob) -> dict[str, float]:
    """The best tokens by text. Of several that look alike (parts of a character), the likeliest."""
    return {top.text: top.logprob for top in reversed(score.top)}
