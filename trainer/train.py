"""Train a LoRA adapter from a recipe: peft on the frozen base, loss on the answers alone."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from gateway.model.source import ModelFiles
from trainer.data import batches, read_rows, tokenize_all
from trainer.errors import DataError
from trainer.recipe import Recipe

_LOG_EVERY = 5


def train(recipe: Recipe, recipe_path: Path, model: ModelFiles, run: Path) -> Path:
    """Train and write the run's folder: recipe, metrics.jsonl, adapter/. Returns the adapter.

    Raises RecipeError and DataError before the first step where the inputs cannot be used.
    """
    torch.manual_seed(recipe.seed)
    run.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(recipe_path, run / "recipe.yaml")
    tokenizer: Any = AutoTokenizer.from_pretrained(model.path)
    target, too_long = tokenize_all(read_rows(recipe.data.train), tokenizer, recipe.max_tokens)
    anchors, anchors_too_long = tokenize_all(
        read_rows(recipe.data.anchors), tokenizer, recipe.max_tokens
    )
    print(
        f"{len(target)} target rows ({too_long} too long, left out), "
        f"{len(anchors)} anchors ({anchors_too_long} left out)"
    )
    if not target:
        raise DataError(f"{recipe.data.train} holds no row of at most {recipe.max_tokens} tokens")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = AutoModelForCausalLM.from_pretrained(model.path, dtype=getattr(torch, recipe.dtype))
    tuned: Any = get_peft_model(
        base,
        LoraConfig(
            r=recipe.lora.rank,
            lora_alpha=recipe.lora.alpha,
            use_rslora=recipe.lora.use_rslora,
            lora_dropout=recipe.lora.dropout,
            target_modules=list(recipe.lora.target_modules),
            task_type="CAUSAL_LM",
        ),
    ).to(device)
    tuned.train()
    weights = [p for p in tuned.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe))
    stream = batches(
        target,
        anchors,
        anchor_share=recipe.data.anchor_share,
        batch_size=recipe.batch_size,
        pad=tokenizer.pad_token_id,
        seed=recipe.seed,
    )
    started = time.monotonic()
    with (run / "metrics.jsonl").open("w") as log:
        for step, batch in zip(range(1, recipe.steps + 1), stream, strict=False):
            loss = tuned(
                input_ids=batch.tokens.to(device),
                attention_mask=batch.mask.to(device),
                labels=batch.labels.to(device),
            ).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            took = time.monotonic() - started
            record = {"step": step, "loss": round(loss.item(), 4), "seconds": round(took, 1)}
            log.write(json.dumps(record) + "\n")
            if step % _LOG_EVERY == 0 or step == recipe.steps:
                left = took / step * (recipe.steps - step)
                print(f"step {step}/{recipe.steps}  loss {record['loss']}  {left:.0f} s left")
                sys.stdout.flush()
    return _save(tuned, run / "adapter")


def _rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to nothing."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _save(tuned: Any, folder: Path) -> Path:
    """PEFT's format, with weights in bfloat16: half the size, and what the base is trained in."""
    tuned.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_model.safetensors"
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in load_file(path).items()}, path)
    config_path = folder / "adapter_config.json"
    config = json.loads(config_path.read_text())
    config["base_model_name_or_path"] = None  # a path of this machine says nothing elsewhere
    config["target_modules"] = sorted(config["target_modules"])
    config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return folder
