"""An answer's deltas as the events of vLLM's completions: what `OpenAIReader` reads. Pure.

Tokens go by number, in the text as well (`token_id:7`): several may be written alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gateway.engine.base import Delta, TokenLogprob

DONE = b"data: [DONE]\n\n"


def event(delta: Delta, model: str, request_id: str) -> bytes:
    """One delta. `model` is who answers: the adapter's name, or the base's."""
    scores = (*(delta.prompt_logprobs or ()), *delta.logprobs)
    choice = {
        "index": delta.index,
        "text": delta.text,
        "token_ids": delta.token_ids,
        "logprobs": _logprobs(scores) if scores else None,
        "finish_reason": delta.finish,
    }
    return data(
        {"id": request_id, "object": "text_completion", "model": model, "choices": [choice]}
    )


def data(content: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"


def _logprobs(scores: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {
        "tokens": [_written(score.token_id) for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [
            None
            if score.logprob is None
            else {_written(top.token_id): top.logprob for top in score.top}
            for score in scores
        ],
    }


def _written(token_id: int) -> str:
    return f"token_id:{token_id}"
