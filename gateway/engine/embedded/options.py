"""What an operator may choose about the embedded engine, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Sizes and placement. `auto` is CUDA with bfloat16 where there is one, else CPU, float32."""

    device: Device = "auto"
    dtype: Dtype = "auto"
    slots: int = 16  # adapters on the device at once; more may be registered and served
    max_rank: int = 16
    max_rows: int = 16  # rows of one batch
    max_len: int = 4096  # tokens a row may hold, prompt and answer; the model's own limit caps it
    max_queue: int = 256  # requests waiting for a row
    background_rows: int = 2  # rows of background work at once, of max_rows
    background_queue: int = 64  # background requests waiting for one of them
    prefill_tokens: int = 128  # prompt tokens a step may add while other rows are decoding
    idle_prefill_tokens: int = 512  # the same while none is
    # The same for background work: a live request that arrives waits for the step that runs.
    background_prefill_tokens: int = 32
    threads: int = 0  # torch threads on CPU; 0 leaves torch's own choice
    host_bytes: int = 2 << 30  # of adapters kept in host memory behind the device slots
    drain_after_s: float = 0.25  # a load that waits longer stops new rows from joining its victim
