"""Attention of packed rows, row by row: no score between two rows is computed.

The library's own attention over a packed batch computes every score and masks most of them away:
with eight short rows on CPU that was a fifth of a step. Registered with transformers as one more
attention implementation; the rows' lengths travel with the forward call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "trainer_packed_rows"


def register() -> None:
    """Make the implementation known to transformers under `NAME`. Repeating it changes nothing."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, packed_rows_attention)


def fits(config: Any) -> bool:
    """Whether a model of this text config attends in the plain way that is computed here."""
    return not getattr(config, "attn_logit_softcapping", None) and config.model_type not in (
        "gpt_oss",  # learnt sinks
    )


def packed_rows_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    row_lengths: Sequence[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """query [1, heads, tokens, dim], key and value [1, kv_heads, tokens, dim] -> the attended
    values [1, tokens, heads, dim]. `attention_mask` is None: transformers makes no masks for an
    implementation that registers none."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    lengths = list(row_lengths)
    attended = []
    pieces = (torch.split(whole, lengths, dim=2) for whole in (query, key, value))
    for q, k, v in zip(*pieces, strict=True):
        banded = sliding_window is not None and q.shape[2] > sliding_window
        attended.append(
            functional.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=_band(q.shape[2], sliding_window, q.device) if banded else None,
                dropout_p=dropout,
                is_causal=not banded,
                scale=scaling,
            )
        )
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


def _band(length: int, window: int | None, device: torch.device) -> Tensor:
    """[length, length]: a token sees itself and the `window` - 1 before it."""
    assert window is not None
    places = torch.arange(length, device=device)
    distance = places[:, None] - places[None, :]
    return (distance >= 0) & (distance < window)
