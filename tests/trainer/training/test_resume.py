"""A run that is killed goes on to the very weights of one that was not."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.trainer.worked import tiny_files, write_recipe
from trainer.errors import TrainingFailed
from trainer.folder import RunFolder
from trainer.recipe_file import read_recipe
from trainer.training.checkpoint import read_seal, sealed_steps
from trainer.training.run import train

STEPS = 8
DEADLINE_S = 200


def start(recipe: Path, model: Path, run: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.trainer.training.resumable"]
    return subprocess.Popen(
        [*command, str(recipe), str(model), str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(run: Path) -> int:
    path = RunFolder(run).metrics
    return len(path.read_text().splitlines()) if path.is_file() else 0


def test_a_run_killed_at_any_moment_ends_with_the_same_bits(tmp_path: Path) -> None:
    model = tiny_files(tmp_path / "model")
    changes = {"budget": {"steps": STEPS, "batch_size": 3, "gradient_accumulation": 2}}
    recipe = write_recipe(tmp_path / "recipe", **changes)
    whole = RunFolder(tmp_path / "whole")
    train(read_recipe(recipe), model, whole, leak_texts=(), on_checkpoint=lambda step, path: False)

    killed = tmp_path / "killed"
    rng = random.Random(5)
    deadline = time.monotonic() + DEADLINE_S
    # Twice in training, at a step count and a delay of its own; then to the end.
    for wanted in (3, 6):
        process = start(recipe, model.path, killed)
        while lines(killed) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = start(recipe, model.path, killed)
    out, err = last.communicate(timeout=DEADLINE_S)
    assert out.strip().endswith("done"), err

    folder = RunFolder(killed)
    assert sealed_steps(folder) == sealed_steps(whole) == [2, 4, 6, 8]
    for step in sealed_steps(whole):
        for part in ("state", "adapter"):
            expected = load_file(whole.checkpoint(step) / part / "adapter_model.safetensors")
            found = load_file(folder.checkpoint(step) / part / "adapter_model.safetensors")
            assert all(found[key].equal(expected[key]) for key in expected)
    metrics = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    expected_metrics = [json.loads(line) for line in whole.metrics.read_text().splitlines()]
    for line in (*metrics, *expected_metrics):
        del line["seconds"]
    assert metrics == expected_metrics


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe and a run of it that ended."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(folder / "recipe", budget={"steps": 4, "batch_size": 2})
    model = tiny_files(folder / "model")
    train(
        read_recipe(recipe),
        model,
        RunFolder(folder / "run"),
        leak_texts=(),
        on_checkpoint=lambda step, path: False,
    )
    return recipe, folder


def test_a_checkpoint_that_is_not_whole_is_removed(trained: tuple[Path, Path]) -> None:
    _, base = trained
    folder = RunFolder(base / "run")
    assert sealed_steps(folder) == [2, 4]
    weights = folder.checkpoint(4) / "state" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    (folder.checkpoints / ".making" / "step-00006").mkdir(parents=True)
    assert read_seal(folder.checkpoint(4)) is None
    assert sealed_steps(folder) == [2]
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["step-00002"]


def test_another_recipe_is_not_trained_on_over_a_run(trained: tuple[Path, Path]) -> None:
    _, base = trained
    other = write_recipe(
        base / "other", budget={"steps": 4, "batch_size": 2}, optimiser={"learning_rate": 0.1}
    )
    model = tiny_files(base / "model")
    with pytest.raises(TrainingFailed, match="another recipe"):
        train(
            read_recipe(other),
            model,
            RunFolder(base / "run"),
            leak_texts=(),
            on_checkpoint=lambda step, path: False,
        )


def test_the_checkpoints_of_a_run_that_goes_on_are_handed_over_again(
    trained: tuple[Path, Path],
) -> None:
    recipe, base = trained
    seen: list[tuple[int, str]] = []

    def note(step: int, adapter: Path) -> bool:
        seen.append((step, adapter.name))
        return True

    result = train(
        read_recipe(recipe),
        tiny_files(base / "model"),
        RunFolder(base / "run"),
        leak_texts=(),
        on_checkpoint=note,
    )
    assert seen == [(2, "adapter")]
    assert result.stopped_early
