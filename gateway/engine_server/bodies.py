"""What gateways send to an engine server: the part of vLLM's protocol that they use, typed.

A field that this server does not know is refused by name, as is a value that it could not honour:
an answer by other settings than were asked for would be a wrong one. Pure.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gateway.api.schemas import Body
from gateway.engine.base import GenerationRequest, SamplingParams
from gateway.registry.values import AdapterArtifact

_MAX_LOGPROBS = 20
_MAX_CHOICES = 128


def _token_ids(given: Any) -> Any:
    if isinstance(given, str):
        raise ValueError(
            "must be a list of token ids, as a gateway sends it; send text to a gateway"
        )
    return given


def _streams(given: Any) -> Any:
    if given is not True:
        raise ValueError("must be true: answers are sent as they come; a gateway gives whole ones")
    return given


class StructuredOutputs(Body):
    """What the answer is held to, token by token: one of the two."""

    schema_: dict[str, Any] | None = Field(default=None, alias="json")
    json_object: bool = False


class CompletionBody(Body):
    """`POST /v1/completions`."""

    model: str = Field(min_length=1)
    prompt: Annotated[list[int], BeforeValidator(_token_ids)]
    stream: Annotated[bool, BeforeValidator(_streams)]
    max_tokens: int = Field(ge=0)
    n: int = Field(default=1, ge=1, le=_MAX_CHOICES)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    seed: int | None = None
    stop: list[str] = Field(default=[], max_length=16)
    ignore_eos: bool = False
    logprobs: int | None = Field(default=None, ge=0, le=_MAX_LOGPROBS)
    echo: bool = False  # the prompt's tokens are scored as well
    structured_outputs: StructuredOutputs | None = None
    # Of these the one value that says what the engine does.
    return_token_ids: Literal[True] = True
    return_tokens_as_token_ids: Literal[True] = True
    top_k: Literal[0, -1] = 0
    min_p: float = Field(default=0.0, ge=0, le=0)
    repetition_penalty: float = Field(default=1.0, ge=1, le=1)

    def request(self, request_id: str, adapter: AdapterArtifact | None) -> GenerationRequest:
        """What the engine is asked."""
        held_to = self.structured_outputs or StructuredOutputs()
        sampling = SamplingParams(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=tuple(text for text in self.stop if text),
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logprobs=self.logprobs,
            prompt_logprobs=self.logprobs if self.echo else None,
            json_schema=held_to.schema_,
            json_object=held_to.json_object,
            ignore_eos=self.ignore_eos,
        )
        return GenerationRequest(request_id, tuple(self.prompt), sampling, adapter, self.n)


class LoadBody(Body):
    """`POST /v1/load_lora_adapter`: `lora_path` is a folder as this machine sees it."""

    lora_name: str
    lora_path: str = Field(min_length=1)


class UnloadBody(Body):
    """`POST /v1/unload_lora_adapter`."""

    lora_name: str


class TokenizeBody(Body):
    """`POST /tokenize`."""

    prompt: str
    model: str | None = None
