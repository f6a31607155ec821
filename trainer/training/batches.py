"""Token rows to one packed sequence a batch: no padding is computed.

Rows stand end to end in one sequence whose positions start anew with each row, and attention keeps
them apart (`attention.py`, or transformers' own by the positions). The positions whose next token
carries loss are listed, so that only their logits are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from trainer.data.mixing import MixingPlan
from trainer.data.tokens import TokenRow

IGNORED = -100  # the label that torch's cross entropy leaves out


class Batch(TypedDict):
    """One micro-batch. Shapes: [1, tokens] but for `keep` [kept] and `on_anchor` [kept]."""

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor  # the token itself where it carries loss, IGNORED elsewhere
    keep: Tensor  # positions whose logits are needed: before each labelled token
    on_anchor: Tensor  # whether that labelled token is an anchor's
    row_lengths: list[int]
    # The anchors alone, packed the same way, for the base's side of the KL.
    anchor_input_ids: Tensor
    anchor_position_ids: Tensor
    anchor_keep: Tensor
    anchor_row_lengths: list[int]


class TokenRows(Dataset[tuple[TokenRow, bool]]):
    """Rows by index, each with whether it is an anchor."""

    def __init__(self, rows: Sequence[TokenRow], targets: int) -> None:
        self._rows = rows
        self._targets = targets

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[TokenRow, bool]:
        return self._rows[index], index >= self._targets


class PlannedBatches(Sampler[list[int]]):
    """The plan's batches, in order. Where they begin follows from the step alone."""

    def __init__(self, plan: MixingPlan, batch_size: int) -> None:
        self._plan = plan
        self.batch_size = batch_size  # accelerate asks for it when it shards
        self.drop_last = False

    def __len__(self) -> int:
        return len(self._plan.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(batch) for batch in self._plan.batches)


def pack(rows: Sequence[tuple[TokenRow, bool]]) -> Batch:
    """The rows end to end, in their order."""
    tokens, positions, labels, keep, on_anchor = _packed(rows)
    anchors = [pair for pair in rows if pair[1]]
    anchor_tokens, anchor_positions, _, anchor_keep, _ = _packed(anchors)
    return Batch(
        input_ids=torch.tensor([tokens]),
        position_ids=torch.tensor([positions]),
        labels=torch.tensor([labels]),
        keep=torch.tensor(keep, dtype=torch.long),
        on_anchor=torch.tensor(on_anchor, dtype=torch.bool),
        row_lengths=[len(row.tokens) for row, _ in rows],
        anchor_input_ids=torch.tensor([anchor_tokens], dtype=torch.long),
        anchor_position_ids=torch.tensor([anchor_positions], dtype=torch.long),
        anchor_keep=torch.tensor(anchor_keep, dtype=torch.long),
        anchor_row_lengths=[len(row.tokens) for row, _ in anchors],
    )


def _packed(
    rows: Sequence[tuple[TokenRow, bool]],
) -> tuple[list[int], list[int], list[int], list[int], list[bool]]:
    tokens: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    keep: list[int] = []
    on_anchor: list[bool] = []
    for row, is_anchor in rows:
        start = len(tokens)
        tokens += row.tokens
        positions += range(len(row.tokens))
        labels += [IGNORED] * row.prompt_len + list(row.tokens[row.prompt_len :])
        # A token's loss is read at the position before it, which is in the same row: a prompt
        # has at least one token.
        keep += range(start + row.prompt_len - 1, start + len(row.tokens) - 1)
        on_anchor += [is_anchor] * row.answer_len
    return tokens, positions, labels, keep, on_anchor
