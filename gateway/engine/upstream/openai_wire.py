"""The completions API as vLLM and SGLang speak it: a request's body, and its events as deltas.

Prompts go out as token ids, so that what is scored and cached there is what was counted here.
Pure: bytes in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from gateway.engine.base import (
    Delta,
    FinishReason,
    GenerationRequest,
    TokenLogprob,
    TopToken,
)
from gateway.engine.detokenize import TokenTexts
from gateway.engine.text import HuggingFaceText
from gateway.engine.upstream.faults import Fault, ServerFault, of_status

_ID = "token_id:"  # how a token is written where it is asked for by number
_FINISH = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


def common_body(request: GenerationRequest, model: str) -> dict[str, Any]:
    """What both servers take alike. Every setting is given: a server's own defaults would otherwise
    come from the model's generation_config."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(request.prompt),
        "stream": True,
        "n": request.n,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "ignore_eos": sampling.ignore_eos,
        "return_token_ids": True,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logprobs is not None:
        body["logprobs"] = sampling.logprobs
    return body


def vllm_body(request: GenerationRequest, model: str, adapter: str | None) -> dict[str, Any]:
    """A body for vLLM; an adapter is a model of its own."""
    sampling = request.sampling
    body = common_body(request, adapter or model)
    body["top_k"] = 0
    if sampling.logprobs is not None or sampling.prompt_logprobs is not None:
        # One number for the prompt and the answer; what is too much is cut off again.
        body["logprobs"] = max(sampling.logprobs or 0, sampling.prompt_logprobs or 0)
        body["return_tokens_as_token_ids"] = True
    if sampling.prompt_logprobs is not None:
        body["echo"] = True
    if sampling.json_schema is not None:
        body["structured_outputs"] = {"json": dict(sampling.json_schema)}
    elif sampling.json_object:
        body["structured_outputs"] = {"json_object": True}
    return body


def sglang_body(request: GenerationRequest, model: str, adapter: str | None) -> dict[str, Any]:
    """A body for SGLang; an adapter is named beside the model."""
    sampling = request.sampling
    body = common_body(request, model)
    body["top_k"] = -1
    if adapter is not None:
        body["lora_path"] = adapter
    if sampling.json_schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": dict(sampling.json_schema)},
        }
    elif sampling.json_object:
        body["response_format"] = {"type": "json_object"}
    return body


class OpenAIReader:
    """Reads the events of one answer. `expected` is the model that must say it answers."""

    def __init__(
        self,
        request: GenerationRequest,
        expected: str | None,
        text: HuggingFaceText,
        texts: TokenTexts,
    ) -> None:
        self._request = request
        self._expected = expected
        self._text = text
        self._texts = texts
        self._open = set(range(request.n))
        self._begun: set[int] = set()
        sampling = request.sampling
        self._scored = sampling.logprobs is not None or sampling.prompt_logprobs is not None

    @property
    def complete(self) -> bool:
        """Whether every choice has ended."""
        return not self._open

    def take(self, data: bytes) -> list[Delta]:
        """The deltas of one event. Raises ServerFault for an error, another model's answer, or
        what is no event of this API."""
        if data == b"[DONE]":
            return []
        try:
            event: Any = from_json(data)
            if "error" in event:
                raise _said(event["error"])
            self._check_model(event.get("model"))
            return [self._delta(choice) for choice in event["choices"]]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ServerFault(
                Fault.BROKEN, f"an event of the stream cannot be read ({error!r}): {data[:200]!r}"
            ) from None

    def _check_model(self, model: Any) -> None:
        if self._expected is not None and model != self._expected:
            raise ServerFault(
                Fault.WRONG_MODEL, f"{self._expected} was asked, and {model!r} answered"
            )

    def _delta(self, choice: Mapping[str, Any]) -> Delta:
        sampling = self._request.sampling
        index: int = choice["index"]
        if index not in self._open:
            raise ValueError(f"there is no open choice {index}")
        ids: list[int] = choice.get("token_ids") or []
        if not isinstance(choice["text"], str) or not {int}.issuperset(map(type, ids)):
            raise ValueError("text or token_ids")
        scores: tuple[TokenLogprob, ...] = ()
        prompt: tuple[TokenLogprob, ...] | None = None
        if self._scored:
            scores, prompt = self._both(self._scores(choice.get("logprobs")), index)
        self._begun.add(index)
        finish = None
        if choice.get("finish_reason") is not None:
            finish = _FINISH[choice["finish_reason"]]
            self._open.discard(index)
        if sampling.max_tokens == 0:  # the server cannot but make one
            return Delta(index, "", (), (), prompt, finish and FinishReason.LENGTH)
        if finish is FinishReason.STOP and self._ended_by_token(choice, ids):
            ids = ids[:-1]
        return Delta(
            index=index,
            text=choice["text"],
            token_ids=tuple(ids),
            logprobs=scores,
            prompt_logprobs=prompt,
            finish=finish,
        )

    def _both(
        self, scores: tuple[TokenLogprob, ...], index: int
    ) -> tuple[tuple[TokenLogprob, ...], tuple[TokenLogprob, ...] | None]:
        """The scores of an answer's tokens and, with the first ones of a choice, the prompt's."""
        sampling = self._request.sampling
        prompt: tuple[TokenLogprob, ...] | None = None
        if index not in self._begun and sampling.prompt_logprobs is not None:
            length = len(self._request.prompt)
            prompt = _cut(scores[:length], sampling.prompt_logprobs)
            prompt = prompt[sampling.prompt_logprobs_from :]
            scores = scores[length:]
        return () if sampling.logprobs is None else _cut(scores, sampling.logprobs), prompt

    def _ended_by_token(self, choice: Mapping[str, Any], ids: Sequence[int]) -> bool:
        """Whether the last of `ids` is an end-of-sequence token: it is no part of the answer. With
        a stop string it is."""
        why = choice.get("stop_reason", choice.get("matched_stop"))
        return bool(ids) and not isinstance(why, str) and ids[-1] in self._text.eos_ids

    def _scores(self, said: Any) -> tuple[TokenLogprob, ...]:
        if not said:
            return ()
        tokens = said["tokens"]
        best = said.get("top_logprobs") or [None] * len(tokens)
        return tuple(
            self._score(token, logprob, top or {})
            for token, logprob, top in zip(tokens, said["token_logprobs"], best, strict=True)
        )

    def _score(self, token: str, logprob: float | None, top: Mapping[str, float]) -> TokenLogprob:
        token_id = self._id(token)
        text, raw = self._texts(token_id)
        best = [(self._id(name), value) for name, value in top.items()]
        best.sort(key=lambda pair: -pair[1])
        return TokenLogprob(
            token_id=token_id,
            text=text,
            raw=raw,
            logprob=logprob,
            top=tuple(TopToken(i, *self._texts(i), value) for i, value in best),
        )

    def _id(self, token: str) -> int:
        if token.startswith(_ID):
            return int(token.removeprefix(_ID))
        known = self._text.tokenizer.encode(token, add_special_tokens=False)
        return int(known[0])


def _cut(scores: Sequence[TokenLogprob], best: int) -> tuple[TokenLogprob, ...]:
    """`scores` with no more than the `best` likeliest tokens each."""
    return tuple(
        TokenLogprob(one.token_id, one.text, one.raw, one.logprob, one.top[:best]) for one in scores
    )


def _said(error: Mapping[str, Any]) -> ServerFault:
    """An error in the midst of a stream."""
    code = error.get("code")
    status = code if isinstance(code, int) else 500
    fault = of_status(status, str(error.get("message", "")), "the server")
    # The request was taken: what comes now is the server's failure, whatever it calls it.
    return (
        fault
        if fault.fault in (Fault.FULL, Fault.MISSING)
        else ServerFault(Fault.BROKEN, fault.message)
    )
