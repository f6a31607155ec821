"""One running continuation: the engine's mutable record, written by the engine thread alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.engine.base import GenerationRequest, TokenLogprob
from gateway.engine.detokenize import Detokenizer
from gateway.engine.embedded.constraint import CompiledConstraint
from gateway.engine.embedded.sampling import RowSampler
from gateway.engine.stream import DeltaStream


@dataclass(eq=False)
class Submission:
    """One request as the engine took it in, shared by its choices' rows."""

    request: GenerationRequest
    stream: DeltaStream
    constraint: CompiledConstraint | None
    cancelled: bool = False  # set from any thread; the engine thread acts on it at the next step
    submitted_at: float = 0.0  # monotonic seconds


@dataclass(eq=False)
class Row:
    """One choice of one submission, from the queue to its last token."""

    submission: Submission
    choice: int
    tokens: list[int]  # prompt, then what was generated
    prompt_len: int
    sampler: RowSampler
    detokenizer: Detokenizer
    kv_row: int = -1  # -1 while waiting
    slot: int | None = None  # device slot of its adapter; None for the base model
    lacking_since: float | None = None  # monotonic seconds: it had a place, but not its adapter
    computed: int = 0  # tokens whose keys and values are in the cache
    generated: int = 0
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def request(self) -> GenerationRequest:
        return self.submission.request

    @property
    def is_background(self) -> bool:
        return self.submission.request.background

    @property
    def is_prefilling(self) -> bool:
        # A row that was pre-empted fills the cache anew, with what it has said so far.
        return self.generated == 0 or self.computed < len(self.tokens) - 1

    @property
    def to_prefill(self) -> int:
        return len(self.tokens) - self.computed if self.is_prefilling else 0

    def preempt(self) -> None:
        """Forget what is in the cache; the row goes on from its tokens when it has a place again
        (recomputation: Kwon and others, PagedAttention, 2023)."""
        self.kv_row, self.slot, self.computed = -1, None, 0
        self.prompt_logprobs.clear()  # made again, unless they were sent


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next `count` prompt tokens of a row."""

    row: Row
    count: int

    @property
    def completes_prompt(self) -> bool:
        return self.row.computed + self.count == len(self.row.tokens)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step computes: a token each for `decode`, chunks of prompts for `prefill`."""

    decode: tuple[Row, ...]
    prefill: tuple[Chunk, ...]

    @property
    def is_empty(self) -> bool:
        return not self.decode and not self.prefill
