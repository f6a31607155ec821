"""Candidates beside the checkpoints themselves: weaker ones, and averages of neighbours.

Both cost no training. A weaker adapter is the same weights at a smaller scaling; an average is
the mean of two *updates* (scaling * B A), brought back to the checkpoints' rank. Reads and writes
adapter folders in PEFT's format; a folder appears whole, under its name, by one rename.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.errors import TrainerError
from trainer.whole_files import whole_folder

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
ORIGIN = "candidate.json"
_TENSOR = re.compile(r"^(?P<layer>.+)\.lora_(?P<side>[AB])\.weight$")

Factors = Mapping[str, tuple[Tensor, Tensor]]  # by layer: A [rank, in], B [out, rank], float32


@dataclass(frozen=True, slots=True)
class Plan:
    """A candidate to be made: of one checkpoint, or of the mean of several, at a strength."""

    steps: tuple[int, ...]
    strength: float

    @property
    def name(self) -> str:
        """`step-00050@0.75`, `mean-00025-00050@1`."""
        steps = "-".join(f"{step:05d}" for step in self.steps)
        kind = "step" if len(self.steps) == 1 else "mean"
        return f"{kind}-{steps}@{self.strength:g}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate on disk. `update_norm` is the Frobenius norm of all it adds to the base's
    weights, its drift; `lost_energy` the share of the squared norm that cutting an average back
    to its rank cost."""

    name: str
    steps: tuple[int, ...]
    strength: float
    rank: int
    update_norm: float
    lost_energy: float


def plan(steps: Sequence[int], strengths: Sequence[float], *, averages: bool) -> tuple[Plan, ...]:
    """Every candidate of these checkpoints: each and, with `averages`, the mean of each two
    neighbours, at each strength. Raises TrainerError for a strength outside (0, 1]."""
    if wrong := [s for s in strengths if not 0 < s <= 1]:
        raise TrainerError(f"choice.strengths: {wrong[0]} is not above 0 and at most 1")
    ordered = sorted(set(steps))
    sources: list[tuple[int, ...]] = [(step,) for step in ordered]
    if averages:
        sources += itertools.pairwise(ordered)
    return tuple(Plan(source, strength) for source in sources for strength in strengths)


def make(plan: Plan, checkpoints: Mapping[int, Path], into: Path) -> Candidate:
    """Write the planned adapter to the folder `into`, bfloat16, from the adapter folders in
    `checkpoints`. One that is there already is kept: the name says all that it depends on.

    Raises TrainerError where a checkpoint cannot be read, has more than plain LoRA weights, or
    differs from its neighbour in shape.
    """
    if (into / ORIGIN).is_file():
        return read_candidate(into)
    sources = [_read(checkpoints[step]) for step in plan.steps]
    config, factors = sources[0]
    lost = 0.0
    if len(sources) > 1:
        factors, lost = _average(config, sources)
    config = _scaled(config, plan.strength)
    stored = {layer: (a.bfloat16(), b.bfloat16()) for layer, (a, b) in factors.items()}
    scaling = scaling_of(config)
    candidate = Candidate(
        name=plan.name,
        steps=plan.steps,
        strength=plan.strength,
        rank=int(config["r"]),
        update_norm=scaling * math.sqrt(sum(_norm(a, b) ** 2 for a, b in stored.values())),
        lost_energy=lost,
    )
    _write(into, config, stored, candidate)
    return candidate


def read_candidate(folder: Path) -> Candidate:
    """What is kept of the candidate in `folder`. Raises TrainerError."""
    path = folder / ORIGIN
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Candidate(**{**values, "steps": tuple(values["steps"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainerError(
            f"{path} cannot be read: {error}; delete {folder} and it is made again"
        ) from None


def scaling_of(config: Mapping[str, Any]) -> float:
    """What PEFT multiplies B A by: alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA
    (Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", 2023)."""
    rank = int(config["r"])
    root = math.sqrt(rank) if config.get("use_rslora") else rank
    return float(config["lora_alpha"]) / root


def average_factors(
    sources: Sequence[tuple[float, Tensor, Tensor]], rank: int
) -> tuple[Tensor, Tensor, float]:
    """A and B of the best rank-`rank` form of the mean of the updates `scaling * B A`, and the
    energy (squared singular values) of the mean and what was cut of it, as one share.

    The mean of n updates is exactly one product of factors of n times the rank, laid side by
    side; QR of both and an SVD of the small core give its singular values, and by Eckart and
    Young (1936) keeping the largest is the best approximation. The mean of the factors would be
    another update: B A of means holds cross terms that no checkpoint learned.
    """
    b = torch.cat([scaling / len(sources) * b for scaling, _, b in sources], dim=1)  # [out, n*r]
    a = torch.cat([a for _, a, _ in sources], dim=0)  # [n*r, in]
    q_b, r_b = torch.linalg.qr(b.double())
    q_a, r_a = torch.linalg.qr(a.double().T)
    u, s, v = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    root = s[:rank].sqrt()
    energy = float((s**2).sum())
    lost = float((s[rank:] ** 2).sum()) / energy if energy else 0.0
    new_b = (q_b @ u[:, :rank]) * root  # [out, rank]
    new_a = (root[:, None] * v[:rank]) @ q_a.T  # [rank, in]
    return _padded(new_a, rank, 0).float(), _padded(new_b, rank, 1).float(), lost


def _padded(factor: Tensor, rank: int, dim: int) -> Tensor:
    """`factor` with rows or columns of zeros up to `rank`: a layer narrower than the rank."""
    missing = rank - factor.shape[dim]
    if missing <= 0:
        return factor
    shape = list(factor.shape)
    shape[dim] = missing
    return torch.cat([factor, factor.new_zeros(shape)], dim=dim)


def _average(
    config: Mapping[str, Any], sources: Sequence[tuple[dict[str, Any], Factors]]
) -> tuple[Factors, float]:
    """The mean's factors under `config`'s scaling, and the share of energy cut over all layers."""
    first = sources[0][1]
    for _, other in sources[1:]:
        if {k: (a.shape, b.shape) for k, (a, b) in other.items()} != {
            k: (a.shape, b.shape) for k, (a, b) in first.items()
        }:
            raise TrainerError("checkpoints of different shape cannot be averaged")
    own = scaling_of(config)
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    kept = cut = 0.0
    for layer in first:
        parts = [(scaling_of(c), *f[layer]) for c, f in sources]
        a, b, lost = average_factors(parts, int(config["r"]))
        factors[layer] = (a / math.sqrt(own), b / math.sqrt(own))
        energy = _norm(a, b) ** 2
        kept += energy
        cut += energy * lost / (1 - lost) if lost < 1 else 0.0
    return factors, cut / (kept + cut) if kept + cut else 0.0


def _norm(a: Tensor, b: Tensor) -> float:
    """The Frobenius norm of B A, without forming it: tr((B'B)(A A'))."""
    a, b = a.double(), b.double()
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))


def _scaled(config: Mapping[str, Any], strength: float) -> dict[str, Any]:
    return {**config, "lora_alpha": config["lora_alpha"] * strength, "inference_mode": True}


def _read(folder: Path) -> tuple[dict[str, Any], Factors]:
    """A checkpoint's configuration and factors."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise TrainerError(f"the adapter in {folder} cannot be read: {error}") from None
    # Per-layer ranks, other biases and whole trained modules have no scaling to turn down.
    for key in ("rank_pattern", "alpha_pattern", "modules_to_save"):
        if config.get(key):
            raise TrainerError(
                f"the adapter in {folder} uses {key}, which candidates do not support"
            )
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.match(name)
        if match is None:
            raise TrainerError(
                f"the adapter in {folder} holds {name}, which is no LoRA A or B weight"
            )
        layers.setdefault(match["layer"], {})[match["side"]] = tensor.float()
    if not layers or any(set(sides) != {"A", "B"} for sides in layers.values()):
        raise TrainerError(f"the adapter in {folder} lacks an A or B weight of some layer")
    return config, {layer: (sides["A"], sides["B"]) for layer, sides in layers.items()}


def _write(into: Path, config: Mapping[str, Any], stored: Factors, candidate: Candidate) -> None:
    tensors: dict[str, Tensor] = {}
    for layer, (a, b) in stored.items():
        tensors[f"{layer}.lora_A.weight"] = a.contiguous()
        tensors[f"{layer}.lora_B.weight"] = b.contiguous()
    try:
        with whole_folder(into) as staged:
            save_file(tensors, staged / WEIGHTS, metadata={"format": "pt"})
            (staged / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
            (staged / ORIGIN).write_text(json.dumps(asdict(candidate), indent=2) + "\n")
    except OSError as error:
        raise TrainerError(f"the candidate {into} cannot be written: {error}") from None
