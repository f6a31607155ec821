"""Which rows stand in which batch: a pure function of the rows' loss tokens, share and seed.

Anchors are placed by error diffusion: at every place the source that lags behind its share of the
loss-carrying tokens comes next, so the share holds over any stretch to within one row.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainer.errors import DataError


@dataclass(frozen=True, slots=True)
class MixingPlan:
    """Batches of row indices: targets first (0 ... targets - 1), anchors after them."""

    batches: tuple[tuple[int, ...], ...]
    targets: int
    loss_tokens: tuple[int, ...]  # by row index

    def anchor_share(self, start: int = 0, stop: int | None = None) -> float:
        """The anchors' real share of loss tokens in batches [start, stop)."""
        anchors = total = 0
        for batch in self.batches[start:stop]:
            for row in batch:
                total += self.loss_tokens[row]
                anchors += self.loss_tokens[row] if row >= self.targets else 0
        return anchors / total if total else 0.0

    def passes(self) -> tuple[float, float]:
        """How often the target rows and the anchors are gone through."""
        drawn = sum(len(batch) for batch in self.batches)
        anchors = sum(row >= self.targets for batch in self.batches for row in batch)
        count = len(self.loss_tokens) - self.targets
        return (drawn - anchors) / self.targets, anchors / count if count else 0.0


def plan(
    target: Sequence[int],
    anchors: Sequence[int],
    *,
    share: float,
    batches: int,
    batch_size: int,
    seed: int,
) -> MixingPlan:
    """`batches` batches of `batch_size` rows. `target` and `anchors` are the loss tokens of each
    row. A longer plan begins with the same batches. Raises DataError for a share that the rows
    cannot give."""
    if not target:
        raise DataError("there are no target rows")
    if share and not anchors:
        raise DataError(f"anchors should carry {share:.0%} of the loss, but there are none")
    sources = (
        _endless(len(target), 0, f"{seed}:target"),
        _endless(len(anchors), len(target), f"{seed}:anchors"),
    )
    loss_tokens = (*target, *anchors)
    given = [0, 0]
    made = []
    for _ in range(batches):
        batch = []
        for _ in range(batch_size):
            lags = share > 0 and given[1] * (1 - share) < given[0] * share
            row = next(sources[lags])
            given[lags] += loss_tokens[row]
            batch.append(row)
        made.append(tuple(batch))
    return MixingPlan(tuple(made), len(target), loss_tokens)


def _endless(count: int, first: int, seed: str) -> Iterator[int]:
    """Row indices from `first` on, shuffled anew whenever all have been gone through."""
    rng = random.Random(seed)
    order = list(range(first, first + count))
    while True:
        rng.shuffle(order)
        yield from order
