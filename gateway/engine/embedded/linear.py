"""The base model's matrix products: fused weights, packed for the processor where that is faster.

On CPU in float32, oneDNN with a weight packed ahead of time is about three times as fast as the
plain call on the processors this was measured on (`docs/decisions/`), still in float32. The
packed weight replaces the plain one, so weights are held once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# A layout hint only: weights packed for 64 rows ran as fast as any at every row count tried.
_PACK_ROWS = 64


class BaseLinear:
    """y = x W^T + b for x [tokens, in], over one or several layers' weights stacked by output."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        first = linears[0]
        weight = first.weight if len(linears) == 1 else torch.cat([m.weight for m in linears])
        self._weight: Tensor = weight.detach()  # [out, in]
        self._bias = _stacked_bias(linears)
        self.out_features, self.in_features = self._weight.shape
        self.nbytes = self._weight.nbytes
        self._packed = can_pack(self._weight)
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, _PACK_ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed:
            result: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self._weight, self._bias, "none", [], ""
            )
            return result
        return functional.linear(x, self._weight, self._bias)


def can_pack(weight: Tensor) -> bool:
    """Whether this weight can be packed: CPU, float32, and a torch built with oneDNN."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def _stacked_bias(linears: Sequence[nn.Linear]) -> Tensor | None:
    if all(m.bias is None for m in linears):
        return None
    parts = [
        m.bias.detach() if m.bias is not None else m.weight.new_zeros(m.out_features)
        for m in linears
    ]
    return torch.cat(parts)


class PackedHead(nn.Module):
    """The output projection over the vocabulary, packed like the other products.

    With tied embeddings the table stays plain for look-ups, so this is the one weight held twice;
    the projection is the largest product of a decode step and pays for it.
    """

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self._base = BaseLinear([head])
        self.nbytes = self._base.nbytes

    def forward(self, x: Tensor) -> Tensor:
        return self._base(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)
