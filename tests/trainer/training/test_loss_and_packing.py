"""The loss is the formula, and packing changes nothing but the time it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tests.tiny import FAMILIES, make_tiny_model
from trainer.data.tokens import TokenRow
from trainer.errors import TrainingFailed
from trainer.training.batches import IGNORED, pack
from trainer.training.loss import loss_sums
from trainer.training.model import answer_logits, check_packing, use_packed_attention

ROWS = (TokenRow((5, 6, 7, 8), 2), TokenRow(tuple(range(10, 40)), 20), TokenRow((9, 3, 4), 1))


def tuned_model(folder: Path, family: str) -> Any:
    model = AutoModelForCausalLM.from_pretrained(make_tiny_model(folder, family))
    return get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"])).eval()


@pytest.mark.parametrize("own", [True, False], ids=["own", "library"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_packed_row_is_computed_as_if_alone(tmp_path: Path, family: str, own: bool) -> None:
    tuned = tuned_model(tmp_path, family)
    batch = pack([(row, False) for row in ROWS])
    with torch.no_grad():
        alone = torch.cat(
            [
                tuned(input_ids=torch.tensor([row.tokens])).logits[0, row.prompt_len - 1 : -1]
                for row in ROWS
            ]
        )
        if own:
            use_packed_attention(tuned.get_base_model())
        packed = answer_logits(
            tuned,
            batch["input_ids"],
            batch["position_ids"],
            batch["keep"],
            batch["row_lengths"],
        )
    torch.testing.assert_close(packed, alone, atol=1e-4, rtol=1e-4)
    check_packing(tuned, ROWS[:2])


def test_a_model_that_mixes_packed_rows_is_refused(tmp_path: Path) -> None:
    tuned = tuned_model(tmp_path, "llama")
    forward = tuned.forward

    def blind(position_ids: torch.Tensor, **inputs: Any) -> Any:
        return forward(position_ids=torch.arange(position_ids.shape[1])[None], **inputs)

    tuned.forward = blind
    with pytest.raises(TrainingFailed, match="keep packed rows apart"):
        check_packing(tuned, ROWS[:2])


def test_labels_stand_on_answers_alone() -> None:
    batch = pack([(ROWS[0], False), (ROWS[2], True)])
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 7, 8, IGNORED, 3, 4]]
    assert batch["keep"].tolist() == [1, 2, 4, 5]
    assert batch["on_anchor"].tolist() == [False, False, True, True]
    assert batch["anchor_input_ids"].tolist() == [[9, 3, 4]]
    assert batch["anchor_keep"].tolist() == [0, 1]


def test_the_loss_is_cross_entropy_and_kl_to_the_base_on_anchors() -> None:
    torch.manual_seed(0)
    logits, base = torch.randn(5, 11), torch.randn(2, 11)
    labels = torch.tensor([1, 2, 3, 4, 5])
    on_anchor = torch.tensor([False, True, False, True, False])
    sums = loss_sums(logits, labels, on_anchor, base)
    expected_kl = sum(
        (base[i].softmax(0) * (base[i].log_softmax(0) - logits[j].log_softmax(0))).sum()
        for i, j in enumerate((1, 3))
    )
    torch.testing.assert_close(sums.kl, expected_kl)
    torch.testing.assert_close(
        sums.total(0.5), F.cross_entropy(logits, labels, reduction="sum") + 0.5 * expected_kl
    )
    assert (int(sums.target_tokens), int(sums.anchor_tokens)) == (3, 2)


def test_the_kl_is_nothing_where_adapter_and_base_agree() -> None:
    logits = torch.randn(3, 7)
    sums = loss_sums(logits, torch.tensor([1, 2, 3]), torch.ones(3, dtype=torch.bool), logits)
    assert float(sums.kl) == pytest.approx(0, abs=1e-6)
