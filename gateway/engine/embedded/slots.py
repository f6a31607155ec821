"""The device slots' contents: copying an adapter from host memory into one."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gateway.engine.embedded.adapter_file import HostAdapter
from gateway.engine.embedded.lora import LoraLinear


class SlotTensors:
    """Fills slots. `ranks` and `layer_masks` are read by the runner for the slots that its rows
    hold, which no fill touches meanwhile. Ranks beyond an adapter's own hold zeros, as do layers
    that it does not update."""

    def __init__(self, layers: Mapping[str, LoraLinear], slots: int) -> None:
        self._layers = layers
        self.ranks = [0] * slots
        self.layer_masks = [0] * slots  # bit i: it updates layer i

    @property
    def nbytes(self) -> int:
        return sum(layer.a.nbytes + layer.b.nbytes for layer in self._layers.values())

    @torch.inference_mode()
    def fill(self, index: int, adapter: HostAdapter) -> None:
        """Copy `adapter` into slot `index`."""
        used, dirty = self.ranks[index], self.layer_masks[index]
        # Should it fail half-way: anything may be anywhere in the slot.
        first = next(iter(self._layers.values()))
        self.ranks[index], self.layer_masks[index] = first.a.shape[1], -1
        mask = 0
        for name, layer in self._layers.items():
            update = adapter.weights.get(name)
            held = used if dirty >> layer.index & 1 else 0  # ranks that are not zero
            rank = 0
            if update is not None:
                rank = update.rank
                layer.a[index, :rank].copy_(update.a)
                b = layer.b[index, :rank].copy_(update.b)
                if update.scale != 1.0:
                    b.mul_(update.scale)
                mask |= 1 << layer.index
            if rank < held:
                layer.a[index, rank:held].zero_()
                layer.b[index, rank:held].zero_()
        self.ranks[index] = adapter.rank
        self.layer_masks[index] = mask
        if first.a.is_cuda:
            torch.cuda.synchronize()
