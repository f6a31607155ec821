"""What an engine promises: hold adapters, generate, score, and say what it holds.

The API layer turns HTTP into `GenerationRequest` and `Delta`s into HTTP; nothing here knows HTTP
or routing. Token ids are the engine's own tokenizer's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from gateway.engine.adapter_use import AdapterUse
from gateway.registry.values import AdapterArtifact


class FinishReason(StrEnum):
    STOP = "stop"  # end-of-sequence token, a stop string, or the grammar is complete
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen. `temperature` 0 is greedy."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logprobs: int | None = None  # None: none; k >= 0: the chosen token's and the k best's
    prompt_logprobs: int | None = None  # the same for the prompt's own tokens
    prompt_logprobs_from: int = 0  # the first prompt token that is scored
    json_schema: Mapping[str, Any] | None = field(default=None, hash=False)
    json_object: bool = False  # any JSON object, no schema
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request for `n` independent continuations of one prompt by one adapter or the base."""

    request_id: str
    prompt: tuple[int, ...]  # token ids, at least one
    sampling: SamplingParams
    adapter: AdapterArtifact | None = None
    n: int = 1
    # Work that nobody waits for. It has a bounded queue of its own, runs only in steps in which no
    # live request could, and gives up its place to any that needs it; it may take for ever, and
    # whoever sends it sets a time limit.
    background: bool = False
    not_on: str = ""  # the server (by name) that lost it: another is preferred


@dataclass(frozen=True, slots=True)
class TopToken:
    token_id: int
    text: str
    raw: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its natural-log probability. `logprob` is None for a prompt's first token."""

    token_id: int
    text: str
    raw: bytes  # the token's own bytes; several tokens may share one character
    logprob: float | None
    top: tuple[TopToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of one continuation. `text` never ends inside a multi-byte character.

    `text` may be empty while `token_ids` is not (text held back for a stop string or a partial
    character). The last delta of each `index` carries `finish`; a stream ends after the last
    delta of every index. The token that ends a continuation is not in `token_ids`; where
    log-probabilities were asked for, `logprobs` has it.
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] | None = None  # on the first delta, if asked for
    finish: FinishReason | None = None


class TokenStream(Protocol):
    """The deltas of one request, in order. Must be consumed on the loop that asked for it."""

    def __aiter__(self) -> AsyncIterator[Delta]:
        """Yields deltas; raises EngineFault where the engine failed, AdapterRejected where the
        adapter could not be loaded, QueueFull where a server of an upstream engine was full."""
        ...

    def cancel(self) -> None:
        """Stop generating; rows are free within one decode step. Idempotent, from any thread.
        The iterator then ends with deltas whose finish is CANCELLED."""
        ...


class TextCodec(Protocol):
    """The base model's tokenizer and chat template."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, with the special tokens a bare prompt gets."""
        ...

    def encode_chat(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Token ids of a conversation rendered by the chat template, ready for the answer.

        Raises BadInput (param `messages`) where the template refuses it.
        """
        ...

    def decode(self, token_ids: Sequence[int]) -> str: ...


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What never changes about a running engine."""

    kind: str  # "embedded", "upstream"
    model: str  # the base model's name
    fingerprint: str  # sha256 hex over config, weights and tokenizer
    architecture: str  # for example LlamaForCausalLM
    device: str
    dtype: str
    vocab_size: int
    max_len: int  # tokens a row may hold, prompt and answer together
    max_rows: int
    max_queue: int
    slots: int  # device slots for adapters
    max_rank: int


@dataclass(frozen=True, slots=True)
class ServerReading:
    """One server of an upstream engine, at the moment. `faults` only grow."""

    name: str
    circuit: str  # closed, open, half_open; unwell where its health checks fail
    choices: int  # running or waiting there, of this gateway
    tokens: int  # of theirs, still to be read or generated
    adapters: int  # that it holds
    faults: Mapping[str, int] = field(default_factory=dict, hash=False)  # by kind


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A reading of the moment, for metrics and readiness. Counters only grow."""

    running_rows: int  # these two without background work
    queue_depth: int
    kv_tokens_used: int
    kv_tokens_total: int
    resident_adapters: tuple[str, ...]  # digests in device slots
    pinned_adapters: tuple[str, ...]
    adapter_loads: int
    adapter_load_failures: int
    adapter_evictions: int
    adapter_load_seconds: float  # sum over loads
    weights_bytes: int  # base weights, held once
    slots_bytes: int
    kv_bytes: int
    steps: int
    tokens_generated: int
    healthy: bool = True
    background_rows: int = 0  # that hold a place, running or paused
    background_queue_depth: int = 0
    background_preemptions: int = 0  # how often one gave its place to a live request
    servers: tuple[ServerReading, ...] = ()  # of an upstream engine
    retries: int = 0  # requests sent to another server
    adapter_use: AdapterUse | None = None  # where this process holds the slots


class Engine(Protocol):
    """Runs one base model and many adapters."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def text(self) -> TextCodec: ...

    def start(self) -> None:
        """Begin serving (threads, warm-up). Blocks until requests can be taken."""
        ...

    def generate(self, request: GenerationRequest) -> TokenStream:
        """Queue `request`. Call on an event loop; returns at once.

        Raises QueueFull at the queue's bound (background requests have their own) and BadInput
        where the request can never run (over `max_len`, unknown token ids, n over `max_rows`, a
        schema that does not compile).
        """
        ...

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """Compile a JSON schema for constrained decoding; raises BadInput with the reason."""
        ...

    def check_adapter(self, adapter: AdapterArtifact) -> None:
        """Validate without loading to a slot; blocks (disk). Raises AdapterRejected."""
        ...

    async def make_resident(self, adapter: AdapterArtifact) -> None:
        """Load into a device slot (if one can be had) or at least host memory, so that the first
        request finds it there. Raises AdapterRejected with the reason; nothing stays half-loaded.
        """
        ...

    def set_pinned(self, digests: Collection[str]) -> None:
        """The adapters that live routes name: evicted only when no other slot can be freed."""
        ...

    def stats(self) -> EngineStats: ...

    async def close(self, grace_s: float = 0.0) -> None:
        """Take no new requests, let running ones finish for `grace_s`, then cancel and stop."""
        ...
