"""One training run, from a recipe to sealed checkpoints; run again, it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import AutoTokenizer
from transformers.trainer_callback import PrinterCallback

from gateway.model.source import ModelFiles
from trainer.data.checks import SuiteText
from trainer.data.prepare import (
    CheckedPart,
    Findings,
    PreparedData,
    check,
    prepare,
    write_findings,
)
from trainer.data.rows import Row
from trainer.data.self_anchors import answer_by_base
from trainer.data.tokens import check_template
from trainer.errors import TrainingFailed
from trainer.folder import RunFolder
from trainer.recipe import Recipe
from trainer.recipe_file import write_resolved
from trainer.training.checkpoint import RunIdentity, check_identity, sealed_steps
from trainer.training.loop import (
    MixedTrainer,
    OnCheckpoint,
    StepWatcher,
    as_it_was,
    training_arguments,
)
from trainer.training.metrics import MetricsFile, ProgressDisplay
from trainer.training.model import base_dtype, check_packing, load_for_training

log = logging.getLogger(__name__)

# What of a recipe does not change the weights of a step: a run may go on after a change.
_NOT_THE_WEIGHTS = {
    "name",
    "workflow",
    "description",
    "model",  # its fingerprint counts
    "checkpoints",
    "suites",
    "choice",
    "gate",
}


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run left: the steps of its sealed checkpoints, and why it ended."""

    steps: tuple[int, ...]
    stopped_early: bool
    resumed_from: int  # 0: it began anew


def train(
    recipe: Recipe,
    model: ModelFiles,
    folder: RunFolder,
    *,
    leak_texts: Sequence[SuiteText],
    on_checkpoint: OnCheckpoint,
) -> TrainResult:
    """Train `recipe` into `folder`, or go on from its last whole checkpoint.

    `on_checkpoint(step, adapter_folder)` is called on the main process after each checkpoint is
    sealed, and for those already there when a run goes on (it may have been killed within it);
    True stops the training. Raises RecipeError and DataError before the model is loaded,
    TrainingFailed where training cannot go on.
    """
    tokenizer = _tokenizer(model)
    check_template(tokenizer, model.name)
    checked = check(recipe, tokenizer, leak_texts, model.name)
    arguments = training_arguments(recipe, folder)  # also joins the other processes
    state = PartialState()
    steps = _steps_and_folder(recipe, folder, state)
    with state.main_process_first():  # the others read what it answered
        prepared = _prepared(recipe, checked, tokenizer, model, folder, state.num_processes)
    if state.is_main_process:
        write_findings(prepared, folder)
        for line in prepared.lines():
            log.info("%s", line)
    identity = RunIdentity(
        model.fingerprint, _recipe_digest(recipe), prepared.manifest.digest, state.num_processes
    )
    for step in steps[-1:]:
        check_identity(folder.checkpoint(step), identity)
    if state.is_main_process:
        for step in steps:
            with as_it_was():
                if on_checkpoint(step, folder.checkpoint_adapter(step)):
                    _stop_others(state, stop=True)
                    return TrainResult(tuple(steps), True, step)
    if _stop_others(state, stop=False):
        return TrainResult(tuple(steps), True, steps[-1])
    resumed = steps[-1] if steps else 0
    if resumed >= recipe.budget.steps:
        return TrainResult(tuple(steps), False, resumed)
    stopped = _run(recipe, model, folder, prepared, identity, arguments, resumed, on_checkpoint)
    return TrainResult(tuple(sealed_steps(folder)), stopped, resumed)


def _run(
    recipe: Recipe,
    model: ModelFiles,
    folder: RunFolder,
    prepared: PreparedData,
    identity: RunIdentity,
    arguments: Any,
    resumed: int,
    on_checkpoint: OnCheckpoint,
) -> bool:
    """Train from step `resumed` on; whether the caller stopped it early."""
    main = PartialState().is_main_process
    tuned = load_for_training(recipe, model)
    check_packing(tuned, (prepared.rows[0], prepared.rows[-1]))
    metrics = MetricsFile(folder.metrics, resumed) if main else None
    display = ProgressDisplay(recipe.budget.steps, resumed) if main else None
    watcher = StepWatcher(metrics, display, on_checkpoint)
    trainer = MixedTrainer(
        model=tuned,
        arguments=arguments,
        recipe=recipe,
        prepared=prepared,
        folder=folder,
        identity=identity,
    )
    watcher.trainer = trainer
    trainer.add_callback(watcher)
    trainer.remove_callback(PrinterCallback)
    state = folder.checkpoint(resumed) / "state"
    try:
        if display is not None:
            with display:
                trainer.train(resume_from_checkpoint=str(state) if resumed else None)
        else:
            trainer.train(resume_from_checkpoint=str(state) if resumed else None)
    finally:
        if metrics is not None:
            metrics.close()
    return watcher.stopped_early


def _steps_and_folder(recipe: Recipe, folder: RunFolder, state: PartialState) -> list[int]:
    """The whole checkpoints; on the main process the folder is tidied and the recipe written."""
    with state.main_process_first():
        if state.is_main_process:
            folder.root.mkdir(parents=True, exist_ok=True)
            steps = sealed_steps(folder)
            write_resolved(recipe, folder.recipe)
            return steps
        return sealed_steps(folder)


def _prepared(
    recipe: Recipe,
    checked: tuple[Sequence[CheckedPart], Findings],
    tokenizer: Any,
    model: ModelFiles,
    folder: RunFolder,
    processes: int,
) -> PreparedData:
    def answer(rows: Sequence[Row]) -> list[Row]:
        with as_it_was():
            return answer_by_base(
                rows,
                model,
                folder.self_anchors,
                answer_tokens=recipe.data.anchors.answer_tokens,
                max_tokens=recipe.data.max_tokens,
                say=log.info,
            )

    return prepare(recipe, *checked, tokenizer, answer, model_name=model.name, processes=processes)


def _tokenizer(model: ModelFiles) -> Any:
    try:
        return AutoTokenizer.from_pretrained(model.path)
    except (OSError, ValueError) as error:
        raise TrainingFailed(f"{model.path} has no tokenizer that can be read: {error}") from None


def _recipe_digest(recipe: Recipe) -> str:
    """sha256 hex of the settings that decide a step's weights. Data counts by its own digest."""
    settings = recipe.model_dump(mode="json", exclude=_NOT_THE_WEIGHTS)
    settings["dtype"] = str(base_dtype(recipe))
    for part in (*settings["data"]["target"], *settings["data"]["anchors"]["parts"]):
        del part["path"]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _stop_others(state: PartialState, *, stop: bool) -> bool:
    """Tell every process what the main one decided."""
    if state.num_processes == 1:
        return stop
    told = [stop]
    broadcast_object_list(told)
    return bool(told[0])
