"""Attention of one step: decode tokens of many rows at once, prompt chunks row by row.

Registered with transformers as one more attention implementation, so that every architecture that
supports replaceable attention (Llama, Qwen, Gemma and others) runs on the same code. The step's
`StepBatch` says which token belongs to which row; nothing here knows of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from gateway.engine.embedded.kv import KVCache

NAME = "gateway_batch"

# A row this much longer than the shortest half of the batch is computed by itself: in the common
# product every row costs as much as the longest.
_OUTLIER_FACTOR = 4
_OUTLIER_MIN = 256


@dataclass(frozen=True, slots=True)
class DecodeToken:
    row: int
    length: int  # tokens in the row, the new one included


@dataclass(frozen=True, slots=True)
class PrefillSegment:
    row: int
    offset: int  # first token's place in the step
    start: int  # first token's position in the row
    count: int


@dataclass
class StepBatch:
    """The token layout of one step: decode tokens first, then prefill segments, then padding."""

    cache: KVCache
    positions: Tensor  # [tokens] flat cache positions, padding at cache.scratch
    decode: Sequence[DecodeToken]
    prefill: Sequence[PrefillSegment]
    dtype: torch.dtype
    _masks: dict[Any, Tensor] = field(default_factory=dict)
    _batched: _BatchedRows | None = None
    _alone: list[tuple[int, DecodeToken]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.decode:
            return
        lengths = sorted(token.length for token in self.decode)
        limit = max(_OUTLIER_MIN, _OUTLIER_FACTOR * lengths[len(lengths) // 2])
        together = [(i, t) for i, t in enumerate(self.decode) if t.length <= limit]
        self._alone = [(i, t) for i, t in enumerate(self.decode) if t.length > limit]
        self._batched = _BatchedRows.of(together, self.positions.device)

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """query [1, heads, tokens, dim], key and value [1, kv_heads, tokens, dim] -> the attended
        values [1, tokens, heads, dim]."""
        q = query[0].transpose(0, 1)  # [tokens, heads, dim]
        k, v = key[0].transpose(0, 1), value[0].transpose(0, 1)
        self.cache.write(layer, self.positions, k, v)
        kernel = _Kernel(scaling=scaling, softcap=softcap, groups=q.shape[1] // k.shape[1])
        out = q.new_zeros(q.shape) if self._has_padding else torch.empty_like(q)
        if self._batched is not None:
            self._attend_batched(layer, q, out, kernel, window)
        for index, token in self._alone:
            first = 0 if window is None else max(0, token.length - window)
            keys, values = self.cache.span(layer, token.row, token.row + 1, token.length)
            one = kernel(q[index : index + 1], keys[:, :, first:], values[:, :, first:], None)
            out[index] = one[0]
        for segment in self.prefill:
            stop = segment.offset + segment.count
            length = segment.start + segment.count
            keys, values = self.cache.span(layer, segment.row, segment.row + 1, length)
            out[segment.offset : stop] = kernel.causal(
                q[segment.offset : stop], keys, values, self._causal_mask(segment, window)
            )
        return out.unsqueeze(0)

    @property
    def _has_padding(self) -> bool:
        used = len(self.decode) + sum(segment.count for segment in self.prefill)
        return used < self.positions.shape[0]

    def _attend_batched(
        self, layer: int, q: Tensor, out: Tensor, kernel: _Kernel, window: int | None
    ) -> None:
        rows = self._batched
        assert rows is not None
        keys, values = self.cache.span(layer, rows.first, rows.last, rows.length)
        gathered = q.index_select(0, rows.token_of_row)  # [span, heads, dim]
        attended = kernel(gathered, keys, values, self._decode_mask(window))
        out.index_copy_(0, rows.tokens, attended.index_select(0, rows.row_of_token))

    def _decode_mask(self, window: int | None) -> Tensor:
        """[span, 1, 1, length] added to the scores: 0 where a row may look, -inf elsewhere."""
        mask = self._masks.get(("decode", window))
        if mask is None:
            rows = self._batched
            assert rows is not None
            place = torch.arange(rows.length, device=rows.lengths.device)
            seen = place < rows.lengths[:, None]
            if window is not None:
                seen &= place >= rows.lengths[:, None] - window
            mask = _additive(seen, self.dtype)[:, None, None, :]
            self._masks[("decode", window)] = mask
        return mask

    def _causal_mask(self, segment: PrefillSegment, window: int | None) -> Tensor | None:
        """[count, length] for one segment, or None where plain causal attention is the same."""
        length = segment.start + segment.count
        if segment.start == 0 and (window is None or length <= window):
            return None
        cache_key = (segment.offset, window)
        mask = self._masks.get(cache_key)
        if mask is None:
            device = self.positions.device
            place = torch.arange(length, device=device)
            own = torch.arange(segment.start, length, device=device)[:, None]
            seen = place <= own
            if window is not None:
                seen &= place > own - window
            mask = self._masks[cache_key] = _additive(seen, self.dtype)
        return mask


@dataclass(frozen=True, slots=True)
class _BatchedRows:
    """Decode rows computed in one product over the span of cache rows first..last-1.

    Cache rows of the span that are not decoding get some token's query and a mask that shows one
    position; their results are dropped.
    """

    first: int
    last: int
    length: int  # the longest row's
    lengths: Tensor  # [span], 1 for rows not decoding
    token_of_row: Tensor  # [span] token whose query the cache row takes
    tokens: Tensor  # [decoding] token indices
    row_of_token: Tensor  # [decoding] index into the span

    @classmethod
    def of(cls, tokens: Sequence[tuple[int, DecodeToken]], device: torch.device) -> _BatchedRows:
        first = min(token.row for _, token in tokens)
        last = max(token.row for _, token in tokens) + 1
        lengths = [1] * (last - first)
        token_of_row = [tokens[0][0]] * (last - first)
        for index, token in tokens:
            lengths[token.row - first] = token.length
            token_of_row[token.row - first] = index
        return cls(
            first=first,
            last=last,
            length=max(lengths),
            lengths=torch.tensor(lengths, device=device),
            token_of_row=torch.tensor(token_of_row, device=device),
            tokens=torch.tensor([index for index, _ in tokens], device=device),
            row_of_token=torch.tensor([t.row - first for _, t in tokens], device=device),
        )


@dataclass(frozen=True, slots=True)
class _Kernel:
    """Scaled dot-product attention with grouped query heads, and soft-capped scores if asked."""

    scaling: float
    softcap: float | None
    groups: int  # query heads per key-value head

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """One query a row: q [rows, heads, dim] over [rows, kv_heads, length, dim] -> q's shape.

        The query heads of a group are laid out as that many queries of their key-value head:
        they see the same keys under the same mask, so nothing has to be repeated.
        """
        rows, heads, dim = q.shape
        grouped = q.view(rows, heads // self.groups, self.groups, dim)
        return self._attend(grouped, keys, values, mask).reshape(rows, heads, dim)

    def causal(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """A chunk of one row: q [count, heads, dim] over [1, kv_heads, length, dim] -> q's shape.

        `mask` None means plain causal attention from the row's first token.
        """
        queries = q.transpose(0, 1).unsqueeze(0)  # [1, heads, count, dim]
        if self.groups > 1:
            keys = keys.repeat_interleave(self.groups, dim=1)
            values = values.repeat_interleave(self.groups, dim=1)
        attended = self._attend(queries, keys, values, mask, is_causal=mask is None)
        return attended[0].transpose(0, 1)

    def _attend(
        self,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None,
        is_causal: bool = False,
    ) -> Tensor:
        if self.softcap is None:
            return functional.scaled_dot_product_attention(
                q, keys, values, attn_mask=mask, is_causal=is_causal, scale=self.scaling
            )
        scores = torch.matmul(q, keys.transpose(-1, -2)) * self.scaling
        scores = torch.tanh(scores / self.softcap) * self.softcap
        if is_causal:
            count = q.shape[-2]
            seen = torch.ones(count, count, dtype=torch.bool, device=q.device).tril()
            mask = _additive(seen, scores.dtype)
        if mask is not None:
            scores = scores + mask
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype)
        return torch.matmul(weights, values)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(
        ~seen, float("-inf")
    )


def batch_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    step: StepBatch,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function transformers calls in every layer (its `AttentionInterface`)."""
    layer: int = module.layer_idx  # type: ignore[assignment]
    attended = step.attend(
        layer, query, key, value, scaling=scaling, window=sliding_window, softcap=softcap
    )
    return attended, None


def register() -> None:
    """Make the implementation known to transformers under `NAME`. Repeating it changes nothing."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, batch_attention)
