"""LoRAX's own streaming API: a request's body, and its events as deltas. Pure.

It takes text, not token ids, and one continuation a request; it loads the adapter that a request
names by itself. Written from its documentation.
"""

from __future__ import annotations

import json
from typing import Any

from gateway.engine.base import Delta, FinishReason, GenerationRequest, TokenLogprob
from gateway.engine.detokenize import TokenTexts
from gateway.engine.text import HuggingFaceText
from gateway.engine.upstream.faults import Fault, ServerFault

_FINISH = {
    "length": FinishReason.LENGTH,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
}


def lorax_body(
    request: GenerationRequest, adapter: str | None, text: HuggingFaceText
) -> dict[str, Any]:
    """The body; `adapter` is a folder on the server."""
    sampling = request.sampling
    parameters: dict[str, Any] = {
        "max_new_tokens": sampling.max_tokens,
        "details": True,
        "return_full_text": False,
        "ignore_eos_token": sampling.ignore_eos,
    }
    if sampling.temperature:
        parameters |= {"do_sample": True, "temperature": sampling.temperature}
        if sampling.top_p < 1:
            parameters["top_p"] = sampling.top_p
    if sampling.seed is not None:
        parameters["seed"] = sampling.seed
    if sampling.stop:
        parameters["stop"] = list(sampling.stop)
    if sampling.json_schema is not None or sampling.json_object:
        schema = {"type": "object"} if sampling.json_schema is None else dict(sampling.json_schema)
        parameters["response_format"] = {"type": "json_object", "schema": schema}
    if adapter is not None:
        parameters |= {"adapter_id": adapter, "adapter_source": "local"}
    return {"inputs": text.decode_all(request.prompt), "parameters": parameters}


class LoraxReader:
    """Reads the events of one answer of one choice."""

    def __init__(
        self, request: GenerationRequest, text: HuggingFaceText, texts: TokenTexts
    ) -> None:
        self._request = request
        self._text = text
        self._texts = texts
        self.complete = False

    def take(self, data: bytes) -> list[Delta]:
        """The deltas of one event. Raises ServerFault."""
        try:
            event: Any = json.loads(data)
            if "error" in event:
                missing = "adapter" in str(event["error"]).lower()
                fault = Fault.MISSING if missing else Fault.BROKEN
                raise ServerFault(fault, str(event["error"]))
            return [self._delta(event)]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ServerFault(
                Fault.BROKEN, f"an event of the stream cannot be read ({error!r}): {data[:200]!r}"
            ) from None

    def _delta(self, event: Any) -> Delta:
        token = event["token"]
        token_id, said = token["id"], token["text"]
        if not isinstance(token_id, int) or not isinstance(said, str):
            raise ValueError("token")
        finish = None
        if event.get("generated_text") is not None:
            finish = _FINISH[(event.get("details") or {}).get("finish_reason", "length")]
            self.complete = True
        scores: tuple[TokenLogprob, ...] = ()
        if self._request.sampling.logprobs is not None:
            scores = (TokenLogprob(token_id, *self._texts(token_id), token.get("logprob")),)
        ended = finish is FinishReason.STOP and token_id in self._text.eos_ids
        return Delta(
            index=0,
            text="" if token.get("special") else said,
            token_ids=() if ended else (token_id,),
            logprobs=scores,
            finish=finish,
        )
