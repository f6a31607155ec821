"""What stops a run: said clearly, and nothing half-written that looks whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.trainer.worked import make_recipe, tiny_files, write_recipe
from trainer.errors import RecipeError, TrainingFailed
from trainer.folder import RunFolder
from trainer.training.checkpoint import sealed_steps
from trainer.training.run import train


def test_a_loss_that_is_no_number_stops_with_step_and_rate(tmp_path: Path) -> None:
    recipe = make_recipe(
        tmp_path / "recipe",
        optimiser={"learning_rate": 1e30, "max_grad_norm": 1e30},
        schedule={"kind": "constant", "warmup": 0},
        checkpoints={"every": 100},
    )
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(TrainingFailed, match=r"step \d: the .* is (nan|inf).*learning_rate"):
        train(
            recipe,
            tiny_files(tmp_path / "model"),
            folder,
            leak_texts=(),
            on_checkpoint=lambda step, path: False,
        )
    assert sealed_steps(folder) == []
    steps = [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))


def test_layers_that_the_model_does_not_have_are_named(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "recipe", lora={"target_modules": ["q_proj", "w_proj"]})
    with pytest.raises(RecipeError, match=r"lora\.target_modules.*w_proj"):
        train(
            recipe,
            tiny_files(tmp_path / "model"),
            RunFolder(tmp_path / "run"),
            leak_texts=(),
            on_checkpoint=lambda step, path: False,
        )


def test_a_full_disk_leaves_no_checkpoint_that_looks_whole(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe")
    model = tiny_files(tmp_path / "model")
    # Files of at most 60 kB: the first checkpoint's weights do not fit.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "from tests.trainer.training.resumable import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(recipe), str(model.path), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "the checkpoint of step 2 could not be written" in done.stderr
    folder = RunFolder(tmp_path / "run")
    assert [path.name for path in folder.checkpoints.glob("step-*")] == []
    assert sealed_steps(folder) == []
    assert not (folder.checkpoints / ".making").exists()


def test_an_evaluation_between_steps_leaves_threads_and_randomness_as_they_were(
    tmp_path: Path,
) -> None:
    recipe = make_recipe(tmp_path / "recipe", budget={"steps": 4, "batch_size": 2})
    model = tiny_files(tmp_path / "model")
    threads = torch.get_num_threads()
    seen = []

    def disturbing(step: int, adapter: Path) -> bool:
        torch.set_num_threads(threads + 3)
        torch.manual_seed(step)
        seen.append(adapter.is_dir())
        return step == 4

    for name, callback in (("calm", lambda step, path: False), ("disturbed", disturbing)):
        train(recipe, model, RunFolder(tmp_path / name), leak_texts=(), on_checkpoint=callback)
        assert torch.get_num_threads() == threads
    assert seen == [True, True]
    calm, disturbed = (
        RunFolder(tmp_path / name).checkpoint(4) / "adapter" / "adapter_model.safetensors"
        for name in ("calm", "disturbed")
    )
    assert calm.read_bytes() == disturbed.read_bytes()


def test_an_early_stop_ends_after_its_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    result = train(
        make_recipe(tmp_path / "recipe"),
        tiny_files(tmp_path / "model"),
        folder,
        leak_texts=(),
        on_checkpoint=lambda step, path: step == 4,
    )
    assert (result.steps, result.stopped_early, result.resumed_from) == ((2, 4), True, 0)
    assert len(folder.metrics.read_text().splitlines()) == 4
