"""Read one PEFT adapter folder into host memory, or refuse it with the reason.

Only `adapter_config.json` and `adapter_model.safetensors` are opened. Nothing is half-read: the
result is a complete, checked `HostAdapter` or an `AdapterRejected`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from gateway.engine.adapter_config import check_features, refusal, require_base
from gateway.errors import AdapterRejected
from gateway.registry.content import adapter_digest
from gateway.registry.values import AdapterArtifact

_ALLOWED_SUFFIXES = {".json", ".safetensors", ".yaml", ".yml", ".md", ".jsonl"}
_Refuse = Callable[[str], AdapterRejected]
_TENSOR = re.compile(r"^base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight$")


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What the base model's layer of that name takes and gives."""

    in_features: int
    out_features: int


@dataclass(frozen=True, slots=True)
class LayerUpdate:
    """One layer's A [rank, in] and B [rank, out]; the update is x A^T B times `scale`."""

    a: Tensor
    b: Tensor
    scale: float

    @property
    def rank(self) -> int:
        return int(self.a.shape[0])


@dataclass(frozen=True, slots=True)
class HostAdapter:
    """One adapter in host memory, in the smaller of its file's type and the engine's."""

    digest: str
    weights: Mapping[str, LayerUpdate]  # by layer
    rank: int = field(init=False)  # the largest over its layers
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        updates = self.weights.values()
        object.__setattr__(self, "rank", max(each.rank for each in updates))
        object.__setattr__(self, "nbytes", sum(each.a.nbytes + each.b.nbytes for each in updates))


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
        tensors = load((artifact.path / "adapter_model.safetensors").read_bytes())
    except (OSError, SafetensorError) as error:
        raise refuse(f"adapter_model.safetensors cannot be read: {error}") from None

    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _TENSOR.match(key)
        if match is None:
            raise refuse(f"tensor {key} is not a LoRA A or B weight; this engine holds no other")
        if match["layer"] not in shapes:
            raise refuse(f"updates {match['layer']}, which is no linear layer of this base model")
        pairs.setdefault(match["layer"], {})[match["side"]] = tensor
    if not pairs:
        raise refuse("adapter_model.safetensors holds no LoRA weights")
    _require_finite(tensors, refuse)
    for layer, sides in pairs.items():
        _require_shape(layer, sides, shapes[layer], max_rank, refuse)
    weights = _updates(pairs, config, dtype)
    # Last: what is wrong with the files themselves says more.
    if found != artifact.digest:
        raise refuse(
            f"its files are not those that were published (digest {found[:12]}, published "
            f"{artifact.digest[:12]}); put them back, or publish a new version"
        )
    return HostAdapter(artifact.digest, weights)


def _require_finite(tensors: Mapping[str, Tensor], refuse: _Refuse) -> None:
    """By the extremes of all together, which are not finite where any number is not: a pass over
    each of hundreds of small tensors takes several times as long."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors.values():
        by_type.setdefault(tensor.dtype, []).append(tensor.view(-1))
    extremes = [end for flat in by_type.values() for end in torch.aminmax(torch.cat(flat))]
    if all(math.isfinite(float(end)) for end in extremes):
        return
    key = next(k for k, tensor in tensors.items() if not bool(torch.isfinite(tensor).all()))
    raise refuse(f"tensor {key} holds numbers that are not finite")


def _require_shape(
    layer: str, sides: Mapping[str, Tensor], shape: LayerShape, max_rank: int, refuse: _Refuse
) -> None:
    if set(sides) != {"A", "B"}:
        raise refuse(f"layer {layer} has lora_{next(iter(sides))} without its other half")
    a, b = sides["A"], sides["B"]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise refuse(f"layer {layer}: A {list(a.shape)} and B {list(b.shape)} do not multiply")
    if (a.shape[1], b.shape[0]) != (shape.in_features, shape.out_features):
        raise refuse(
            f"layer {layer}: updates a layer of {a.shape[1]} -> {b.shape[0]}, the base model's "
            f"is {shape.in_features} -> {shape.out_features}"
        )
    if a.shape[0] > max_rank:
        raise refuse(
            f"layer {layer} has rank {a.shape[0]}, over this engine's maximum of {max_rank}; "
            f"start it with --max-rank {a.shape[0]} or train a smaller one"
        )


def _updates(
    pairs: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any], dtype: torch.dtype
) -> dict[str, LayerUpdate]:
    """The updates of all layers, each B transposed as slots hold it. In the smaller of the file's
    type and `dtype`; what has to be rounded to it is scaled before, so that it is rounded once."""
    kinds = {side.dtype for sides in pairs.values() for side in sides.values()}
    as_it_is = len(kinds) == 1 and all(kind.itemsize < dtype.itemsize for kind in kinds)
    updates: dict[str, LayerUpdate] = {}
    for layer, sides in pairs.items():
        a, b = sides["A"], sides["B"].t()
        scale = _scaling(config, layer, int(a.shape[0]))
        if not as_it_is:
            a, b, scale = a.to(dtype), (b.float() * scale).to(dtype), 1.0
        updates[layer] = LayerUpdate(a.contiguous(), b.contiguous(), scale)
    return updates


def _read_config(path: Path, refuse: _Refuse) -> dict[str, Any]:
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
