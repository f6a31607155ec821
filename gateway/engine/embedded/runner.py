"""One step of the model over a mixed batch: lay out tokens, run, give back logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gateway.engine.embedded.attention import DecodeToken, PrefillSegment, StepBatch
from gateway.engine.embedded.kv import KVCache
from gateway.engine.embedded.loading import LoadedModel
from gateway.engine.embedded.lora import decode_order, plan_blocks
from gateway.engine.embedded.rows import Chunk, Row, Step
from gateway.engine.embedded.slots import SlotTensors

# A library kernel for a new number of tokens is built on first use, which costs more than the few
# tokens of padding that keep the numbers few.
_PAD_TO = 16
_PAD_ABOVE = 32


@dataclass(frozen=True, slots=True)
class PromptScores:
    """Logits of a chunk whose prompt is to be scored: row i predicts token start + i + 1."""

    row: Row
    start: int
    logits: Tensor  # [count, vocab]


@dataclass(frozen=True, slots=True)
class StepResult:
    """`logits` [rows, vocab] of the rows that need a token now, in the order of `rows`."""

    rows: tuple[Row, ...]
    logits: Tensor
    scores: tuple[PromptScores, ...]


class Runner:
    """Runs steps. Owned by the engine thread; rows' `computed` is moved on here alone."""

    def __init__(self, model: LoadedModel, cache: KVCache, slots: SlotTensors) -> None:
        self._model = model
        self._cache = cache
        self._slots = slots

    @torch.inference_mode()
    def run(self, step: Step) -> StepResult:
        """Compute `step`. An exception leaves the rows as they were."""
        decode = [step.decode[i] for i in decode_order([row.slot for row in step.decode])]
        prefill = sorted(step.prefill, key=lambda c: -1 if c.row.slot is None else c.row.slot)
        layout = _Layout(self._cache)
        for row in decode:
            layout.add_decode(row)
        for chunk in prefill:
            layout.add_chunk(chunk)
        layout.pad()
        device = self._model.device
        self._model.state.plan = plan_blocks(
            len(layout.tokens),
            [row.slot for row in decode],
            [(c.row.slot, c.count) for c in prefill],
            self._slots.ranks,
            self._slots.layer_masks,
            device,
        )
        logits = self._model.logits(
            torch.tensor(layout.tokens, device=device),
            torch.tensor(layout.positions, device=device),
            # A step that only fills the cache still asks for one token's logits, and drops them.
            torch.tensor(layout.keep or [0], device=device),
            StepBatch(
                cache=self._cache,
                positions=torch.tensor(layout.places, device=device),
                decode=layout.decode,
                prefill=layout.prefill,
                dtype=self._model.dtype,
            ),
        )
        for row in decode:
            row.computed += 1
        for chunk in prefill:
            chunk.row.computed += chunk.count
        return layout.result(logits)


class _Layout:
    """The flat token layout of one step, as lists, before they become tensors."""

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self.tokens: list[int] = []
        self.positions: list[int] = []  # of each token in its row
        self.places: list[int] = []  # of each token in the cache, flat
        self.keep: list[int] = []  # tokens whose logits are wanted
        self.decode: list[DecodeToken] = []
        self.prefill: list[PrefillSegment] = []
        self._sampled: list[tuple[Row, int]] = []  # row, index into keep
        self._scored: list[tuple[Row, int, int, int]] = []  # row, start, first and last of keep

    def add_decode(self, row: Row) -> None:
        position = row.computed
        self._sampled.append((row, len(self.keep)))
        self.keep.append(len(self.tokens))
        self._add(row, position, position + 1)
        self.decode.append(DecodeToken(row.kv_row, position + 1))

    def add_chunk(self, chunk: Chunk) -> None:
        row, start = chunk.row, chunk.row.computed
        stop = start + chunk.count
        offset = len(self.tokens)
        self._add(row, start, stop)
        self.prefill.append(PrefillSegment(row.kv_row, offset, start, chunk.count))
        skipped = self._unscored(row, start, chunk.count)
        if skipped < chunk.count:
            first = len(self.keep)
            self.keep.extend(range(offset + skipped, offset + chunk.count))
            self._scored.append((row, start + skipped, first, len(self.keep)))
        elif chunk.completes_prompt:
            self.keep.append(offset + chunk.count - 1)
        if chunk.completes_prompt:
            self._sampled.append((row, len(self.keep) - 1))

    @staticmethod
    def _unscored(row: Row, start: int, count: int) -> int:
        """How many of the chunk's first positions predict no token that is to be scored."""
        sampling = row.request.sampling
        if sampling.prompt_logprobs is None:
            return count
        return min(count, max(0, sampling.prompt_logprobs_from - 1 - start))

    def pad(self) -> None:
        count = len(self.tokens)
        if count <= _PAD_ABOVE:
            return
        extra = -count % _PAD_TO
        self.tokens += [0] * extra
        self.positions += [0] * extra
        self.places += [self._cache.scratch] * extra

    def result(self, logits: Tensor) -> StepResult:
        """Split logits [kept, vocab] into rows to sample and prompts to score."""
        scores = tuple(
            PromptScores(row, start, logits[first:last].clone())
            for row, start, first, last in self._scored
        )
        indices = [index for _, index in self._sampled]
        if indices != list(range(logits.shape[0])):
            logits = logits[torch.tensor(indices, dtype=torch.long, device=logits.device)]
        return StepResult(tuple(row for row, _ in self._sampled), logits, scores)

    def _add(self, row: Row, start: int, stop: int) -> None:
        base = row.kv_row * self._cache.max_len
        self.tokens += row.tokens[start:stop]
        self.positions += range(start, stop)
        self.places += range(base + start, base + stop)
