"""The KV cache: one preallocated row of `max_len` tokens per running request, per layer.

Rows are whole, not paged: a running request owns one row to its end, so a decode step reads the
cache as one strided view without gathering blocks, which is what the library attention kernels of
CPU and CUDA take. On CPU the memory is reserved lazily by the operating system and touched only
as tokens arrive. One more row than asked for takes the writes of padding tokens.
"""

from __future__ import annotations

import math
import mmap

import torch
from torch import Tensor


class KVCache:
    """Keys and values of all rows: per layer two tensors [rows + 1, max_len, kv_heads, head_dim].

    Written by the engine thread alone. Zero at first, so that a masked position never holds a
    non-finite number that a weight of zero could not cancel.
    """

    def __init__(
        self,
        *,
        layers: int,
        rows: int,
        max_len: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.rows = rows
        self.max_len = max_len
        self.scratch = rows * max_len  # flat position that padding tokens write to
        shape = (rows + 1, max_len, kv_heads, head_dim)
        self._keys = [_zeros(shape, dtype, device) for _ in range(layers)]
        self._values = [_zeros(shape, dtype, device) for _ in range(layers)]
        self._free = list(range(rows - 1, -1, -1))
        self.nbytes = 2 * layers * self._keys[0][:rows].nbytes

    @property
    def free_rows(self) -> int:
        return len(self._free)

    def take(self) -> int:
        """A free row, the lowest there is: decode reads the span up to the highest row in use."""
        return self._free.pop()

    def give(self, row: int) -> None:
        self._free.append(row)
        self._free.sort(reverse=True)

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values [tokens, kv_heads, head_dim] at flat `positions` [tokens]."""
        self._keys[layer].flatten(0, 1).index_copy_(0, positions, keys)
        self._values[layer].flatten(0, 1).index_copy_(0, positions, values)

    def span(self, layer: int, first: int, last: int, length: int) -> tuple[Tensor, Tensor]:
        """Views [last - first, kv_heads, length, head_dim] of rows first..last-1."""
        keys = self._keys[layer][first:last, :length].transpose(1, 2)
        values = self._values[layer][first:last, :length].transpose(1, 2)
        return keys, values


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    # Anonymous memory: the kernel hands out zeroed pages when they are first touched. Small
    # pages, as the first tokens of each row would otherwise commit (and clear) a huge one each.
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
