"""One step is the same step, however its rows are spread over micro-batches and processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.trainer.worked import tiny_files, write_recipe
from trainer.folder import RunFolder
from trainer.recipe_file import read_recipe
from trainer.training.checkpoint import read_seal
from trainer.training.run import train

SAME: dict[str, Any] = {"lora": {"rank": 4}, "checkpoints": {"every": 3}}


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = RunFolder(run).checkpoint(3) / "state"
    return dict(load_file(state / "adapter_model.safetensors"))


def run_alone(folder: Path, name: str, batch_size: int, accumulation: int) -> dict[str, Any]:
    budget = {"steps": 3, "batch_size": batch_size, "gradient_accumulation": accumulation}
    recipe = write_recipe(folder / f"recipe-{name}", budget=budget, **SAME)
    train(
        read_recipe(recipe),
        tiny_files(folder / "model"),
        RunFolder(folder / name),
        leak_texts=(),
        on_checkpoint=lambda step, path: False,
    )
    return weights(folder / name)


def close(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for key, value in left.items():
        torch.testing.assert_close(value, right[key], atol=1e-5, rtol=1e-3)


def test_accumulation_changes_nothing_but_memory(tmp_path: Path) -> None:
    close(run_alone(tmp_path, "whole", 6, 1), run_alone(tmp_path, "parts", 2, 3))


def test_checkpointing_activations_changes_nothing_but_memory(tmp_path: Path) -> None:
    plain = run_alone(tmp_path, "plain", 3, 1)
    budget = {"steps": 3, "batch_size": 3, "gradient_checkpointing": True}
    recipe = write_recipe(tmp_path / "recipe", budget=budget, **SAME)
    train(
        read_recipe(recipe),
        tiny_files(tmp_path / "model"),
        RunFolder(tmp_path / "spare"),
        leak_texts=(),
        on_checkpoint=lambda step, path: False,
    )
    close(plain, weights(tmp_path / "spare"))


def test_two_processes_make_the_step_of_one(tmp_path: Path) -> None:
    alone = run_alone(tmp_path, "alone", 3, 2)
    recipe = write_recipe(tmp_path / "recipe", budget={"steps": 3, "batch_size": 3}, **SAME)
    # What `accelerate launch` runs for several devices; by itself it starts one process on CPU.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", "--module", "tests.trainer.training.resumable"]
    done = subprocess.run(
        [*command, str(recipe), str(tmp_path / "model"), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seal = read_seal(RunFolder(tmp_path / "two").checkpoint(3))
    assert seal is not None
    assert seal["identity"]["processes"] == 2
    close(alone, weights(tmp_path / "two"))
