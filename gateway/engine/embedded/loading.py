"""Turn a Hugging Face folder into the model the engine runs.

Loads through transformers, so no architecture is named here; swaps every linear layer of the
decoder for a `LoraLinear` over fused base weights, and attention for the step's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from gateway.engine.embedded import attention
from gateway.engine.embedded.kv import KVCache
from gateway.engine.embedded.linear import BaseLinear, PackedHead, can_pack
from gateway.engine.embedded.lora import FusedLinear, LoraLinear, LoraState
from gateway.engine.embedded.options import EngineOptions
from gateway.errors import BadInput

# Layers of one module that read the same input, in every architecture that names them so.
_SHARED_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The model, ready for the runner. `layers` maps a layer's full name to its slot tensors."""

    model: nn.Module
    layers: dict[str, LoraLinear]
    state: LoraState
    architecture: str
    device: torch.device
    dtype: torch.dtype
    vocab_size: int
    max_len: int
    weights_bytes: int

    def new_cache(self, rows: int) -> KVCache:
        """A KV cache of this model's shape for `rows` rows."""
        config = self.model.config.get_text_config()  # type: ignore[union-attr, operator]
        heads = config.num_attention_heads
        return KVCache(
            layers=config.num_hidden_layers,
            rows=rows,
            max_len=self.max_len,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            dtype=self.dtype,
            device=self.device,
        )

    def logits(
        self, tokens: Tensor, positions: Tensor, keep: Tensor, step: attention.StepBatch
    ) -> Tensor:
        """Logits [kept, vocab] of the `keep` indices after one step over tokens [tokens]."""
        output: Any = self.model(
            input_ids=tokens.unsqueeze(0),
            position_ids=positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=keep,
            step=step,
        )
        logits: Tensor = output.logits[0]
        return logits


def load_model(path: Path, options: EngineOptions) -> LoadedModel:
    """Load the folder at `path`. Raises BadInput where it is no causal language model, or the
    device asked for is not there."""
    device, dtype = placement(options)
    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} is not a model folder that transformers can read: {error}"
        ) from None
    attention.register()
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, attn_implementation=attention.NAME, use_safetensors=True
    )
    model = model.to(device).eval().requires_grad_(False)
    if not getattr(model, "_supports_attention_backend", False):
        raise BadInput(
            f"{type(model).__name__} does not support replaceable attention in transformers; "
            "the embedded engine cannot run it, an upstream engine may"
        )
    state = LoraState()
    layers = _install_lora(model, state, options)
    text = config.get_text_config()
    weights_bytes = sum(p.nbytes for p in model.parameters()) + sum(
        base.nbytes for base in _bases(layers)
    )
    return LoadedModel(
        model=model,
        layers=layers,
        state=state,
        architecture=type(model).__name__,
        device=device,
        dtype=dtype,
        vocab_size=text.vocab_size,
        max_len=min(options.max_len, text.max_position_embeddings),
        weights_bytes=weights_bytes + getattr(model.get_output_embeddings(), "nbytes", 0),
    )


def placement(options: EngineOptions) -> tuple[torch.device, torch.dtype]:
    """The device and dtype that `options` come to on this machine."""
    kind = options.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise BadInput(
            "device cuda was asked for, but torch sees no CUDA device; use --device cpu or auto",
            param="device",
        )
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(
        options.dtype, torch.bfloat16 if kind == "cuda" else torch.float32
    )
    return torch.device(kind), dtype


def _install_lora(model: Any, state: LoraState, options: EngineOptions) -> dict[str, LoraLinear]:
    head: Any = model.get_output_embeddings()
    layers: dict[str, LoraLinear] = {}
    for parent_name, parent in list(model.named_modules()):
        linears = {
            name: child
            for name, child in parent.named_children()
            if isinstance(child, nn.Linear) and child is not head
        }
        for names in _fusions(linears):
            members = [linears[name] for name in names]
            joined = [
                _lora_layer(f"{parent_name}.{name}", len(layers) + i, linears[name], options)
                for i, name in enumerate(names)
            ]
            fused = FusedLinear(joined, BaseLinear(members), state)
            column = 0
            for name, layer in zip(names, joined, strict=True):
                layer.join(fused, slice(column, column + layer.out_features))
                column += layer.out_features
                setattr(parent, name, layer)
                layers[layer.name] = layer
    _pack_head(model)
    return layers


def _pack_head(model: Any) -> None:
    head = model.get_output_embeddings()
    if (
        isinstance(head, nn.Linear)
        and getattr(head, "bias", None) is None
        and can_pack(head.weight)
    ):
        model.set_output_embeddings(PackedHead(head))


def _lora_layer(name: str, index: int, linear: nn.Linear, options: EngineOptions) -> LoraLinear:
    return LoraLinear(name, index, linear, options.slots, options.max_rank, linear.weight.dtype)


def _fusions(linears: dict[str, nn.Linear]) -> list[tuple[str, ...]]:
    """The children of one module, those with a shared input together, the others alone."""
    groups: list[tuple[str, ...]] = []
    rest = dict(linears)
    for names in _SHARED_INPUT:
        if all(name in rest for name in names):
            groups.append(names)
            for name in names:
                del rest[name]
    return groups + [(name,) for name in rest]


def _bases(layers: dict[str, LoraLinear]) -> set[BaseLinear]:
    return {layer.base for layer in layers.values()}
