"""The model that is trained: the frozen base with a LoRA of float32 weights."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from gateway.model.source import ModelFiles
from trainer.data.tokens import TokenRow
from trainer.errors import RecipeError, TrainingFailed
from trainer.recipe import Recipe
from trainer.training import attention
from trainer.training.batches import pack

# Logits of a row packed with another against the row alone, relative to their spread. Rounding is
# far below it; attention that looks into the other row is far above.
_PACKING_TOLERANCE = 0.2


def base_dtype(recipe: Recipe) -> torch.dtype:
    """What the recipe's dtype comes to on this machine."""
    if recipe.dtype == "auto":
        return torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return torch.bfloat16 if recipe.dtype == "bfloat16" else torch.float32


def load_for_training(recipe: Recipe, model: ModelFiles) -> Any:
    """The PEFT model on CPU, its base in the recipe's dtype. Raises RecipeError where the LoRA
    settings do not fit the model."""
    torch.manual_seed(recipe.seed)  # LoRA's A is drawn at random
    base = AutoModelForCausalLM.from_pretrained(model.path, dtype=base_dtype(recipe))
    base.config.use_cache = False
    use_packed_attention(base)
    config = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        use_rslora=recipe.lora.use_rslora,
        lora_dropout=recipe.lora.dropout,
        target_modules=list(recipe.lora.target_modules),
        task_type="CAUSAL_LM",
    )
    try:
        # autocast_adapter_dtype: LoRA weights in float32 over a bfloat16 base, so that small
        # updates are not rounded away.
        tuned = get_peft_model(base, config, autocast_adapter_dtype=True)
    except ValueError as error:
        raise RecipeError(f"{error} ({model.name})", field="lora.target_modules") from None
    missing = [
        name
        for name in recipe.lora.target_modules
        if not any(f".{name}.lora_A" in key for key in tuned.state_dict())
    ]
    if missing:
        raise RecipeError(
            f"{model.name} has no layers named {', '.join(missing)}; use names of its linear "
            "layers",
            field="lora.target_modules",
        )
    return tuned


def use_packed_attention(base: Any) -> None:
    """Attention row by row where the model allows it; elsewhere the library's own, masked."""
    if getattr(base, "_supports_attention_backend", False) and attention.fits(
        base.config.get_text_config()
    ):
        attention.register()
        base.set_attn_implementation(attention.NAME)


def answer_logits(
    tuned: Any, input_ids: Tensor, position_ids: Tensor, keep: Tensor, row_lengths: list[int]
) -> Tensor:
    """Logits [kept, vocab] of one packed batch at the `keep` positions."""
    # Only its own attention is told the lengths: others pass what they do not know to kernels.
    bare = getattr(tuned, "module", tuned).get_base_model()
    own = bare.config._attn_implementation == attention.NAME
    logits: Tensor = tuned(
        input_ids=input_ids,
        position_ids=position_ids,
        logits_to_keep=keep,
        use_cache=False,
        **({"row_lengths": row_lengths} if own else {}),
    ).logits[0]
    return logits


def check_packing(tuned: Any, rows: tuple[TokenRow, TokenRow]) -> None:
    """Raise TrainingFailed where the model lets rows of one packed sequence see each other."""
    first, second = rows
    device = next(tuned.parameters()).device
    alone, packed = pack([(second, False)]), pack([(first, False), (second, False)])
    found = []
    was_training = tuned.training
    tuned.eval()
    with torch.no_grad():
        for batch in (alone, packed):
            logits = answer_logits(
                tuned,
                batch["input_ids"].to(device),
                batch["position_ids"].to(device),
                batch["keep"][-second.answer_len :].to(device),
                batch["row_lengths"],
            )
            found.append(logits.float())  # [answer, vocab]
    tuned.train(was_training)
    if found[0].shape != found[1].shape:
        raise TrainingFailed(
            f"{type(tuned.get_base_model()).__name__} does not compute chosen logits only "
            "(logits_to_keep), which this trainer needs; use another base model"
        )
    apart = (found[0] - found[1]).abs().max() / found[0].std()
    if not apart < _PACKING_TOLERANCE:
        raise TrainingFailed(
            f"{type(tuned.get_base_model()).__name__} does not keep packed rows apart in "
            f"attention (logits differ by {apart:.2f} of their spread), so rows would learn from "
            "each other; use another base model"
        )
