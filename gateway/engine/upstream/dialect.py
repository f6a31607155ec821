"""How each kind of server is spoken to: a table, from their documentation.

| | vLLM | SGLang | LoRAX |
| --- | --- | --- | --- |
| load | POST /v1/load_lora_adapter | POST /load_lora_adapter | by the request that names it |
| unload | POST /v1/unload_lora_adapter | POST /unload_lora_adapter | by itself |
| list | GET /v1/models | GET /v1/models | not |
| a request names its adapter | as its model | beside the model | as a folder |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.engine.base import Delta, GenerationRequest
from gateway.engine.detokenize import TokenTexts
from gateway.engine.text import HuggingFaceText
from gateway.engine.upstream.faults import Fault, ServerFault, of_status
from gateway.engine.upstream.lorax_wire import LoraxReader, lorax_body
from gateway.engine.upstream.openai_wire import OpenAIReader, sglang_body, vllm_body
from gateway.engine.upstream.options import DialectName
from gateway.errors import BadInput


class Reader(Protocol):
    """Turns the events of one answer into deltas."""

    @property
    def complete(self) -> bool: ...

    def take(self, data: bytes) -> list[Delta]:
        """Raises ServerFault."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server."""

    name: DialectName
    generate: str  # the path of requests
    load: str | None  # None: a request that names an adapter loads it
    unload: str | None
    models: str | None  # None: it lists nothing
    tokenize: str | None
    health: str = "/health"
    says_model: bool = False  # whether an answer names what it is of
    scores_prompts: bool = False
    choices: bool = True  # more than one continuation a request
    missing_says: tuple[str, ...] = ()  # in a refusal: the adapter is not there

    def check(self, request: GenerationRequest) -> None:
        """Raises BadInput for what these servers cannot do."""
        if request.sampling.prompt_logprobs is not None and not self.scores_prompts:
            raise BadInput(
                f"the servers behind this gateway ({self.name}) give no probabilities of a prompt; "
                "ask without echo and logprobs",
                param="echo",
            )
        if request.n > 1 and request.sampling.temperature and not self.choices:
            raise BadInput(
                f"n is {request.n}; the servers behind this gateway ({self.name}) give one choice "
                "a request",
                param="n",
            )

    def body(
        self, request: GenerationRequest, model: str, adapter: str | None, text: HuggingFaceText
    ) -> dict[str, Any]:
        """What is sent. `adapter` is what the server knows it by."""
        if self.name == "vllm":
            return vllm_body(request, model, adapter)
        if self.name == "sglang":
            return sglang_body(request, model, adapter)
        return lorax_body(request, adapter, text)

    def reader(
        self,
        request: GenerationRequest,
        model: str,
        adapter: str | None,
        text: HuggingFaceText,
        texts: TokenTexts,
    ) -> Reader:
        """For the answer to that."""
        if self.name == "lorax":
            return LoraxReader(request, text, texts)
        expected = (adapter or model) if self.says_model else None
        return OpenAIReader(request, expected, text, texts)

    def refusal(
        self, status: int, said: str, server: str, retry_after: str | None = None
    ) -> ServerFault:
        """The fault that an answer other than 200 to a request is."""
        fault = of_status(status, said, server, retry_after)
        if any(words in said.lower() for words in self.missing_says):
            return ServerFault(Fault.MISSING, fault.message)
        return fault


DIALECTS: Mapping[DialectName, Dialect] = {
    "vllm": Dialect(
        name="vllm",
        generate="/v1/completions",
        load="/v1/load_lora_adapter",
        unload="/v1/unload_lora_adapter",
        models="/v1/models",
        tokenize="/tokenize",
        says_model=True,
        scores_prompts=True,
    ),
    "sglang": Dialect(
        name="sglang",
        generate="/v1/completions",
        load="/load_lora_adapter",
        unload="/unload_lora_adapter",
        models="/v1/models",
        tokenize=None,
        missing_says=("lora adapter", "not loaded"),
    ),
    "lorax": Dialect(
        name="lorax",
        generate="/generate_stream",
        load=None,
        unload=None,
        models=None,
        tokenize=None,
        choices=False,
        missing_says=("adapter",),
    ),
}
