"""Linear layers that add each row's own low-rank update to one shared base product.

Every `nn.Linear` of the decoder becomes a `LoraLinear`. Layers that read the same input (q, k, v;
gate, up) share one fused base weight, held once. The update of all adapters of a step is computed
by batched matrix products over a `LoraPlan`, which the runner makes once a step from the order of
its tokens; rows on the base model are in no block of the plan and pay nothing.

Method: LoRA (Hu and others, 2021); batching rows of different adapters over one base product as
in Punica (Chen and others, 2023), here with blocks of equal group size and library `bmm` instead
of a custom kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gateway.engine.embedded.linear import BaseLinear

# A range of slots is computed whole, gaps included, up to this many slots a group: reading a factor
# in vain costs less than gathering those that are needed, which reads and writes each.
_MOST_SPAN = 2


@dataclass(frozen=True, slots=True)
class LoraBlock:
    """`groups` x `per_group` consecutive tokens from `start`; group i uses device slot slots[i], or
    slots[places[i]] where there are places: a range of slots of which some have no group."""

    start: int
    groups: int
    per_group: int
    slots: slice | Tensor  # a slice where the slots are a range: a view, no copy
    places: Tensor | None  # of each group in that range, where it has gaps
    rank: int  # the largest rank among the slots
    layers: int  # bit i set: some slot of the block updates layer i


@dataclass(frozen=True, slots=True)
class LoraPlan:
    """Which tokens of a step take which adapter. Tokens in no block are the base model's."""

    tokens: int
    blocks: tuple[LoraBlock, ...] = ()


class LoraState:
    """The step's plan, read by every layer. Written by the engine thread alone, before a step."""

    def __init__(self) -> None:
        self.plan = LoraPlan(tokens=0)


class LoraLinear(nn.Module):
    """One linear layer's slot tensors, and its part of a shared base product.

    `a` is [slots, max_rank, in], `b` is [slots, max_rank, out]; the scaling is folded into `b`.
    A slot that does not update this layer, and ranks beyond an adapter's own, hold zeros.
    """

    def __init__(
        self,
        name: str,
        index: int,
        linear: nn.Linear,
        slots: int,
        max_rank: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.name = name
        self.index = index  # its bit in LoraBlock.layers
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        device = linear.weight.device
        self.a = torch.zeros(slots, max_rank, linear.in_features, dtype=dtype, device=device)
        self.b = torch.zeros(slots, max_rank, linear.out_features, dtype=dtype, device=device)
        self._views: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}
        self._fused: FusedLinear | None = None
        self._columns = slice(0, 0)

    def join(self, fused: FusedLinear, columns: slice) -> None:
        """Take part in `fused`; this layer's outputs are its `columns`."""
        # Not a registered submodule: the fused product is owned by no single member.
        object.__setattr__(self, "_fused", fused)
        self._columns = columns

    @property
    def base(self) -> BaseLinear:
        """The fused base product this layer reads its columns from."""
        assert self._fused is not None
        return self._fused.base

    def forward(self, x: Tensor) -> Tensor:
        assert self._fused is not None
        return self._fused.outputs(x)[..., self._columns]

    def factors(self, block: LoraBlock) -> tuple[Tensor, Tensor]:
        """The block's A [slots, in, rank] and B [slots, rank, out], slots as in `block.slots`.

        Views of the slot tensors where the slots are consecutive, kept, as making them anew for
        every layer of every step costs more than a small product does.
        """
        if not isinstance(block.slots, slice):
            return self.a[block.slots, : block.rank].transpose(1, 2), self.b[
                block.slots, : block.rank
            ]
        key = (block.slots.start, block.slots.stop, block.rank)
        views = self._views.get(key)
        if views is None:
            views = self._views[key] = (
                self.a[block.slots, : block.rank].transpose(1, 2),
                self.b[block.slots, : block.rank],
            )
        return views


class FusedLinear:
    """One base product for the layers that read the same input, then each layer's updates.

    The layers call in turn with the same tensor; the first call computes for all of them and the
    last one lets the result go. A call with another tensor computes afresh, so a model that
    calls them in any order, or only some of them, is still served rightly.
    """

    def __init__(self, members: Sequence[LoraLinear], base: BaseLinear, state: LoraState) -> None:
        self._members = tuple(members)
        self._widths = [member.out_features for member in members]
        self.base = base
        self._state = state
        self._input: Tensor | None = None
        self._output: Tensor | None = None
        self._calls = 0

    def outputs(self, x: Tensor) -> Tensor:
        """All members' outputs for x [..., tokens, in], side by side: [..., tokens, sum(out)]."""
        if self._output is None or self._input is not x:
            self._input, self._output, self._calls = x, self._compute(x), 0
        output = self._output
        self._calls += 1
        if self._calls >= len(self._members):
            self._input = self._output = None
        return output

    def _compute(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # [tokens, in]
        y = self.base(rows)  # [tokens, sum(out)], fresh: safe to change in place
        plan = self._state.plan
        if plan.blocks:
            if rows.shape[0] != plan.tokens:
                raise RuntimeError(
                    f"{self._members[0].name} saw {rows.shape[0]} tokens where the step has "
                    f"{plan.tokens}: adapters cannot follow an architecture that reorders tokens"
                )
            for block in plan.blocks:
                self._add_updates(y, rows, block)
        return y.view(*x.shape[:-1], y.shape[-1])

    def _add_updates(self, y: Tensor, x: Tensor, block: LoraBlock) -> None:
        """Add `block`'s updates to y [tokens, sum(out)] in place, from x [tokens, in]."""
        tokens = block.groups * block.per_group
        if tokens < y.shape[0]:
            x = x[block.start : block.start + tokens]
            y = y[block.start : block.start + tokens]
        grouped = x.view(block.groups, block.per_group, x.shape[1])
        if block.places is not None:
            # The inputs of a step are far smaller than the factors that a gap would have copied.
            grouped = _spread(grouped, block.slots, block.places)  # [slots, per_group, in]
        if len(self._members) == 1 and block.places is None:
            member = self._members[0]
            if block.layers >> member.index & 1:
                a, b = member.factors(block)
                y.view(block.groups, block.per_group, y.shape[1]).baddbmm_(torch.bmm(grouped, a), b)
            return
        for member, columns in zip(self._members, torch.split(y, self._widths, dim=1), strict=True):
            if block.layers >> member.index & 1:
                a, b = member.factors(block)
                update = torch.bmm(torch.bmm(grouped, a), b)  # [slots, per_group, out]
                if block.places is not None:
                    update = update.index_select(0, block.places)  # [groups, per_group, out]
                columns.add_(update.view(tokens, member.out_features))


def _spread(grouped: Tensor, slots: slice | Tensor, places: Tensor) -> Tensor:
    """`grouped` [groups, per_group, in] at its places of a range of slots, zeros elsewhere."""
    assert isinstance(slots, slice)
    shape = (slots.stop - slots.start, *grouped.shape[1:])
    return grouped.new_zeros(shape).index_copy_(0, places, grouped)


def plan_blocks(
    tokens: int,
    decode_slots: Sequence[int | None],
    prefill: Sequence[tuple[int | None, int]],
    ranks: Sequence[int],
    layers: Sequence[int],
    device: torch.device,
) -> LoraPlan:
    """The plan of a step.

    `decode_slots`: the slot of each decode token, in the order of `decode_order`. `prefill`:
    (slot, number of tokens) of each prefill segment after them. `ranks` and `layers` are
    per slot.
    """
    groups = _groups([(slot, 1) for slot in decode_slots]) + _groups(prefill, len(decode_slots))
    return LoraPlan(
        tokens=tokens,
        blocks=tuple(
            _block(start, per_group, slots, ranks, layers, device)
            for start, per_group, slots in _uniform_runs(groups)
        ),
    )


def decode_order(slots: Sequence[int | None]) -> list[int]:
    """An order of decode rows in which equal-sized groups of one adapter stand together.

    Sorted by (rows of that adapter, slot), base rows last: then each run of groups of one size
    is one uniform block, a view of the batch without a copy.
    """
    counts: dict[int | None, int] = {}
    for slot in slots:
        counts[slot] = counts.get(slot, 0) + 1
    return sorted(
        range(len(slots)),
        key=lambda i: (1, 0, 0) if slots[i] is None else (0, counts[slots[i]], slots[i]),
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """Consecutive tokens of one adapter."""

    slot: int
    start: int
    count: int


def _groups(parts: Sequence[tuple[int | None, int]], start: int = 0) -> list[_Group]:
    """Parts (slot, tokens) that stand one after the other from `start`, adjacent ones of one
    adapter as one group, those of the base model left out."""
    groups: list[_Group] = []
    for slot, count in parts:
        if slot is not None:
            last = groups[-1] if groups else None
            if last is not None and last.slot == slot and last.start + last.count == start:
                groups[-1] = _Group(slot, last.start, last.count + count)
            else:
                groups.append(_Group(slot, start, count))
        start += count
    return groups


def _uniform_runs(groups: Sequence[_Group]) -> list[tuple[int, int, list[int]]]:
    """(start, tokens per group, slots) of each run of adjacent groups of one size."""
    runs: list[tuple[int, int, list[int]]] = []
    for group in groups:
        if runs:
            start, per_group, slots = runs[-1]
            if per_group == group.count and start + per_group * len(slots) == group.start:
                slots.append(group.slot)
                continue
        runs.append((group.start, group.count, [group.slot]))
    return runs


def _block(
    start: int,
    per_group: int,
    slots: list[int],
    ranks: Sequence[int],
    layers: Sequence[int],
    device: torch.device,
) -> LoraBlock:
    first, last = min(slots), max(slots)
    span = last + 1 - first
    is_range = slots == list(range(first, last + 1))
    # A slot that several groups use has one place only: these are gathered.
    near = span <= _MOST_SPAN * len(slots) and len(set(slots)) == len(slots)
    mask = 0
    for slot in slots:
        mask |= layers[slot]
    return LoraBlock(
        start=start,
        groups=len(slots),
        per_group=per_group,
        slots=slice(first, last + 1) if is_range or near else torch.tensor(slots, device=device),
        places=torch.tensor([slot - first for slot in slots], device=device)
        if near and not is_range
        else None,
        rank=max(ranks[slot] for slot in slots),
        layers=mask,
    )
