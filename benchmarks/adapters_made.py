"""Thousands of adapters for one base model, each with weights of its own, in a registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from gateway.model.source import ModelFiles
from gateway.registry.content import CONFIG, WEIGHTS
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from gateway.routing.table import AdapterRef

RANK = 8
_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SPREAD = 0.01  # of the weights


def make_adapters(
    root: Path, scratch: Path, files: ModelFiles, count: int
) -> tuple[AdapterArtifact, ...]:
    """Adapters a0 to a<count - 1> of rank 8 on all linear layers, in bfloat16 as the trainer saves
    them, in the registry at `root`; those that are there already are kept."""
    shapes = _shapes(files.path)
    registry = Registry(root)
    scratch.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": sorted(_MODULES),
    }
    (scratch / CONFIG).write_text(json.dumps(config))
    there = registry.catalogue().artifacts
    made = []
    for number in range(count):
        ref = AdapterRef(f"a{number}", "1")
        found = there.get(ref)
        if found is None:
            save_file(_weights(shapes, seed=number), scratch / WEIGHTS, metadata={"format": "pt"})
            found = registry.add(
                scratch, ref=ref, base_name=files.name, base_fingerprint=files.fingerprint
            )
        made.append(found)
    return tuple(made)


def _shapes(path: Path) -> dict[str, tuple[int, int]]:
    """Of each layer that adapters update: what it takes and gives."""
    config = AutoConfig.from_pretrained(path)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in _MODULES
    }


def _weights(shapes: dict[str, tuple[int, int]], seed: int) -> dict[str, Tensor]:
    """Random A and B of every layer, drawn at once: views of one tensor."""
    total = sum(RANK * (taken + given) for taken, given in shapes.values())
    generator = torch.Generator().manual_seed(seed)
    # Uniform: as good here as normal, and several times as fast to draw.
    drawn = torch.rand(total, generator=generator).sub_(0.5).mul_(2 * _SPREAD).to(torch.bfloat16)
    found: dict[str, Tensor] = {}
    start = 0
    for name, (taken, given) in shapes.items():
        for side, shape in (("A", (RANK, taken)), ("B", (given, RANK))):
            size = shape[0] * shape[1]
            found[f"base_model.model.{name}.lora_{side}.weight"] = drawn[start : start + size].view(
                shape
            )
            start += size
    return found
