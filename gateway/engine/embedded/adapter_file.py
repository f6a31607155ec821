"""Read one PEFT adapter folder into host memory, or refuse it with the reason.

Only `adapter_config.json` and `adapter_model.safetensors` are opened. Nothing is half-read: the
result is a complete, checked `HostAdapter` or an `AdapterRejected`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gateway.engine.adapter_config import check_features, refusal, require_base
from gateway.errors import AdapterRejected
from gateway.registry.content import adapter_digest
from gateway.registry.values import AdapterArtifact

_ALLOWED_SUFFIXES = {".json", ".safetensors", ".yaml", ".yml", ".md", ".jsonl"}
_TENSOR = re.compile(r"^base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight$")


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What the base model's layer of that name takes and gives."""

    in_features: int
    out_features: int


@dataclass(frozen=True, slots=True)
class HostAdapter:
    """One adapter in host memory: per layer A [rank, in] and B [rank, out], scaling in B."""

    digest: str
    rank: int  # the largest over its layers
    weights: Mapping[str, tuple[Tensor, Tensor]]

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes + b.nbytes for a, b in self.weights.values())


def read_adapter(
    artifact: AdapterArtifact,
    *,
    shapes: Mapping[str, LayerShape],
    base_fingerprint: str,
    max_rank: int,
    dtype: torch.dtype,
) -> HostAdapter:
    """Read and check `artifact`. Raises AdapterRejected saying what does not fit and what would."""
    name = str(artifact.ref)

    def refuse(message: str) -> AdapterRejected:
        return refusal(name, message)

    require_base(artifact, base_fingerprint)
    try:
        held = list(artifact.path.iterdir())
    except OSError as error:
        raise refuse(f"cannot be read: {error}; publish it again") from None
    for path in held:
        if path.suffix not in _ALLOWED_SUFFIXES:
            raise refuse(f"holds {path.name}; only safetensors and JSON are accepted, never pickle")
    config = _read_config(artifact.path / "adapter_config.json", refuse)
    check_features(config, name)
    try:
        found = adapter_digest(artifact.path, name)
        tensors = load_file(artifact.path / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise refuse(f"adapter_model.safetensors cannot be read: {error}") from None

    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _TENSOR.match(key)
        if match is None:
            raise refuse(f"tensor {key} is not a LoRA A or B weight; this engine holds no other")
        if match["layer"] not in shapes:
            raise refuse(f"updates {match['layer']}, which is no linear layer of this base model")
        if not bool(torch.isfinite(tensor).all()):
            raise refuse(f"tensor {key} holds numbers that are not finite")
        pairs.setdefault(match["layer"], {})[match["side"]] = tensor
    if not pairs:
        raise refuse("adapter_model.safetensors holds no LoRA weights")

    weights: dict[str, tuple[Tensor, Tensor]] = {}
    for layer, sides in pairs.items():
        if set(sides) != {"A", "B"}:
            raise refuse(f"layer {layer} has lora_{next(iter(sides))} without its other half")
        a, b, shape = sides["A"], sides["B"], shapes[layer]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            raise refuse(f"layer {layer}: A {list(a.shape)} and B {list(b.shape)} do not multiply")
        rank = a.shape[0]
        if (a.shape[1], b.shape[0]) != (shape.in_features, shape.out_features):
            raise refuse(
                f"layer {layer}: updates a layer of {a.shape[1]} -> {b.shape[0]}, the base model's "
                f"is {shape.in_features} -> {shape.out_features}"
            )
        if rank > max_rank:
            raise refuse(
                f"layer {layer} has rank {rank}, over this engine's maximum of {max_rank}; "
                f"start it with --max-rank {rank} or train a smaller one"
            )
        scale = _scaling(config, layer, rank)
        weights[layer] = (
            a.to(dtype).contiguous(),
            # Scaled in float32 first, so that a bfloat16 engine rounds once.
            (b.float() * scale).to(dtype).t().contiguous(),
        )
    # Last: what is wrong with the files themselves says more.
    if found != artifact.digest:
        raise refuse(
            f"its files are not those that were published (digest {found[:12]}, published "
            f"{artifact.digest[:12]}); put them back, or publish a new version"
        )
    return HostAdapter(
        digest=artifact.digest, rank=max(a.shape[0] for a, _ in weights.values()), weights=weights
    )


def _read_config(path: Path, refuse: Any) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refuse(f"adapter_config.json cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise refuse("adapter_config.json is not a JSON object")
    return config


def _scaling(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """alpha / r, or alpha / sqrt(r) for rsLoRA (Kalajdzievski, 2023), with PEFT's patterns."""
    alpha = float(_by_pattern(config.get("alpha_pattern"), layer, config.get("lora_alpha", rank)))
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _by_pattern(patterns: Mapping[str, Any] | None, layer: str, default: Any) -> Any:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return value
    return default
