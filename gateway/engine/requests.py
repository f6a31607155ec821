"""What a request must be for an engine ever to run it. Pure."""

from __future__ import annotations

from gateway.engine.base import EngineInfo, GenerationRequest
from gateway.errors import BadInput


def check_request(request: GenerationRequest, info: EngineInfo) -> None:
    """Raises BadInput naming the field, the limit and what was asked for."""
    if not request.prompt:
        raise BadInput("the prompt is empty; send at least one token", param="prompt")
    if len(request.prompt) + request.sampling.max_tokens > info.max_len:
        raise BadInput(
            f"the prompt has {len(request.prompt)} tokens and asks for "
            f"{request.sampling.max_tokens} more; this engine holds {info.max_len} tokens a "
            "request",
            param="messages",
            code="context_length_exceeded",
        )
    if request.n > info.max_rows:
        raise BadInput(
            f"n is {request.n}; this engine runs at most {info.max_rows} at once", param="n"
        )
    for token in request.prompt:
        if not 0 <= token < info.vocab_size:
            raise BadInput(
                f"the prompt holds token id {token}; this model's vocabulary is 0 to "
                f"{info.vocab_size - 1}",
                param="prompt",
            )
