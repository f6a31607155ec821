"""Sealed checkpoints: whole or not there.

`step-00025/adapter/` is what would be served (PEFT's format, bfloat16); `state/` is what a resume
needs to the last bit (float32 adapter, optimiser, schedule, random states), as transformers'
Trainer writes it. `seal.json` holds every file's digest and is written last, in a folder that is
renamed into place only then.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from trainer.errors import TrainingFailed
from trainer.folder import RunFolder
from trainer.whole_files import sync_folder, sync_tree, write_text

MAKING = ".making"
_STEP = re.compile(r"^step-(\d{5,})$")
_SEAL = "seal.json"
# Neither is read by a resume; the first is a pickle of this machine's paths.
_UNWANTED = ("training_args.bin", "README.md")


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a checkpoint may only be resumed with."""

    base_fingerprint: str
    recipe_digest: str  # of the settings that decide the weights
    data_digest: str
    processes: int

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """What `other`, as stored, has otherwise."""
        mine = self.to_json()
        names = {
            "base_fingerprint": "base model",
            "recipe_digest": "recipe",
            "data_digest": "data",
            "processes": "number of processes",
        }
        return [label for key, label in names.items() if other.get(key) != mine[key]]

    def to_json(self) -> dict[str, Any]:
        return {
            "base_fingerprint": self.base_fingerprint,
            "recipe_digest": self.recipe_digest,
            "data_digest": self.data_digest,
            "processes": self.processes,
        }


def seal(state: Path, folder: RunFolder, step: int, identity: RunIdentity) -> Path:
    """Turn the Trainer's checkpoint at `state` into the sealed one of `step`. Raises OSError,
    and then nothing under the checkpoint's name."""
    making = state.parent / f"step-{step:05d}"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    for name in _UNWANTED:
        (state / name).unlink(missing_ok=True)
    _write_serving(state, making / "adapter")
    state.rename(making / "state")
    digests = _digests(making)
    content = {"step": step, "identity": identity.to_json(), "files": digests}
    sync_tree(making)
    write_text(making / _SEAL, json.dumps(content, indent=2) + "\n")
    final = folder.checkpoint(step)
    final.parent.mkdir(parents=True, exist_ok=True)
    making.rename(final)
    sync_folder(final.parent)
    return final


def sealed_steps(folder: RunFolder) -> list[int]:
    """The steps of whole checkpoints, ascending. What is not whole is removed."""
    shutil.rmtree(folder.checkpoints / MAKING, ignore_errors=True)
    steps = []
    if folder.checkpoints.is_dir():
        for path in sorted(folder.checkpoints.iterdir()):
            match = _STEP.match(path.name)
            if match is None:
                continue
            if read_seal(path) is None:
                shutil.rmtree(path)
            else:
                steps.append(int(match[1]))
    return sorted(steps)


def read_seal(checkpoint: Path) -> dict[str, Any] | None:
    """The seal of a whole checkpoint, None where a file is missing or is not what was sealed."""
    try:
        content: dict[str, Any] = json.loads((checkpoint / _SEAL).read_text(encoding="utf-8"))
        whole = content["files"] == _digests(checkpoint)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content if whole else None


def check_identity(checkpoint: Path, identity: RunIdentity) -> None:
    """Raise TrainingFailed where the checkpoint belongs to another run."""
    content = read_seal(checkpoint)
    differing = identity.differences(content["identity"] if content else {})
    if differing:
        raise TrainingFailed(
            f"{checkpoint.parent.parent} holds a run with another {' and '.join(differing)}; give "
            "this one a folder of its own, or remove that one to start over"
        )


def _write_serving(state: Path, target: Path) -> None:
    """The adapter in PEFT's format with weights in bfloat16, nothing in it of this machine."""
    target.mkdir()
    weights = load_file(state / "adapter_model.safetensors")
    save_file(
        {key: value.to(torch.bfloat16).contiguous() for key, value in weights.items()},
        target / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    config = json.loads((state / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = None
    config["target_modules"] = sorted(config["target_modules"])
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (target / "adapter_config.json").write_text(text, encoding="utf-8")


def _digests(checkpoint: Path) -> dict[str, str]:
    return {
        path.relative_to(checkpoint).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != _SEAL
    }
