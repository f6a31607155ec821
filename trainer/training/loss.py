"""The loss, as a pure function of logits: cross entropy on answers, KL to the base on anchors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LossSums:
    """Sums over a micro-batch's tokens, in nats, and how many tokens they are over. Scalars."""

    target: Tensor
    anchors: Tensor
    kl: Tensor
    target_tokens: Tensor
    anchor_tokens: Tensor

    def total(self, kl_weight: float) -> Tensor:
        """What is minimised, before it is divided by the step's loss tokens."""
        return self.target + self.anchors + kl_weight * self.kl

    def stacked(self) -> Tensor:
        """All five, detached: [5], float64 so that sums over a step stay exact enough."""
        fields = (self.target, self.anchors, self.kl, self.target_tokens, self.anchor_tokens)
        return torch.stack([value.detach().double() for value in fields])


def loss_sums(
    logits: Tensor, labels: Tensor, on_anchor: Tensor, base_logits: Tensor | None
) -> LossSums:
    """`logits` [kept, vocab] predict `labels` [kept]; `base_logits` [anchors, vocab] are the
    base's at the kept positions where `on_anchor` [kept] is true, in the same order, or None
    where no KL is wanted. Computed in float32."""
    log_probs = F.log_softmax(logits.float(), dim=-1)  # [kept, vocab]
    each = F.nll_loss(log_probs, labels, reduction="none")  # [kept]
    zero = each.new_zeros(())
    kl = zero
    if base_logits is not None and base_logits.shape[0]:
        base = F.log_softmax(base_logits.float(), dim=-1)  # [anchors, vocab]
        # sum p_base * (log p_base - log p_adapter)
        kl = F.kl_div(log_probs[on_anchor], base, log_target=True, reduction="sum")
    count = on_anchor.sum()
    return LossSums(
        target=each.masked_fill(on_anchor, 0).sum(),
        anchors=each.masked_fill(~on_anchor, 0).sum(),
        kl=kl,
        target_tokens=on_anchor.numel() - count,
        anchor_tokens=count,
    )
