"""transformers' Trainer with what it lacks: the mixing plan, the loss, sealed checkpoints."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from trainer.data.prepare import PreparedData
from trainer.errors import TrainingFailed
from trainer.folder import RunFolder
from trainer.recipe import Recipe
from trainer.training.batches import Batch, PlannedBatches, TokenRows, pack
from trainer.training.checkpoint import MAKING, RunIdentity, seal
from trainer.training.loss import LossSums, loss_sums
from trainer.training.metrics import MetricsFile, ProgressDisplay, StepMetrics
from trainer.training.model import answer_logits

OnCheckpoint = Callable[[int, Path], bool]


def training_arguments(recipe: Recipe, folder: RunFolder) -> TrainingArguments:
    """The recipe in the Trainer's words."""
    cuda = torch.cuda.is_available()
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # as `accelerate launch` sets it
    checkpointing: dict[str, Any] = {}
    if recipe.budget.gradient_checkpointing:
        checkpointing["gradient_checkpointing"] = True
        checkpointing["gradient_checkpointing_kwargs"] = {"use_reentrant": False}
    budget, schedule = recipe.budget, recipe.schedule
    kinds = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
    return TrainingArguments(
        output_dir=str(folder.checkpoints / MAKING),
        max_steps=budget.steps,
        per_device_train_batch_size=budget.batch_size,
        gradient_accumulation_steps=budget.gradient_accumulation,
        learning_rate=recipe.optimiser.learning_rate,
        weight_decay=recipe.optimiser.weight_decay,
        max_grad_norm=recipe.optimiser.max_grad_norm,
        optim="adamw_torch",
        lr_scheduler_type=kinds[schedule.kind],
        warmup_steps=math.ceil(schedule.warmup * budget.steps),
        seed=recipe.seed,
        save_strategy="steps",
        save_steps=recipe.checkpoints.every,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=not cuda,
        # Naming a backend makes even one process look for others.
        ddp_backend="gloo" if processes > 1 and not cuda else None,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=cuda,
        **checkpointing,
    )


class MixedTrainer(Trainer):  # type: ignore[misc]  # untyped library
    """Trains one PEFT model on the plan's batches."""

    def __init__(
        self,
        *,
        model: Any,
        arguments: TrainingArguments,
        recipe: Recipe,
        prepared: PreparedData,
        folder: RunFolder,
        identity: RunIdentity,
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=TokenRows(prepared.rows, prepared.plan.targets),
            processing_class=None,
        )
        # The loss is divided by the whole step's loss tokens, over micro-batches and devices.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True
        self.sums = torch.zeros(5, dtype=torch.float64)  # since the step began; see LossSums
        self.tokens = 0
        self.grad_norm = float("nan")
        self.sealed: Path | None = None  # the newest checkpoint, on the main process
        self._recipe = recipe
        self._prepared = prepared
        self._folder = folder
        self._identity = identity

    def get_train_dataloader(self) -> Any:
        """The plan's batches, shared out over the processes."""
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=PlannedBatches(self._prepared.plan, self._recipe.budget.batch_size),
            collate_fn=pack,
            # Its own generator: a loader that draws from the global one would shift dropout.
            generator=torch.Generator(),
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """(sum of cross entropy + kl.weight * sum of KL) / loss tokens of the step."""
        sums = self._sums(model, inputs)
        total = sums.total(self._recipe.kl.weight)
        if not bool(torch.isfinite(total)):
            self._stop_not_finite("loss", total.item())
        self.sums += sums.stacked().cpu()
        self.tokens += inputs["input_ids"].numel()
        count = num_items_in_batch if num_items_in_batch is not None else inputs["keep"].numel()
        # DDP averages gradients over the devices; the tokens were counted over all of them.
        loss: Tensor = total / count * self.accelerator.num_processes
        return loss

    def _sums(self, model: Any, inputs: Batch) -> LossSums:
        labels = inputs["labels"][0][inputs["keep"] + 1]  # [kept]
        base_logits = None
        if self._recipe.kl.weight > 0 and inputs["anchor_keep"].numel():
            bare = self.accelerator.unwrap_model(model)
            with torch.no_grad(), bare.disable_adapter():
                base_logits = answer_logits(
                    bare,
                    inputs["anchor_input_ids"],
                    inputs["anchor_position_ids"],
                    inputs["anchor_keep"],
                    inputs["anchor_row_lengths"],
                )  # [anchors, vocab]
        logits = answer_logits(
            model,
            inputs["input_ids"],
            inputs["position_ids"],
            inputs["keep"],
            inputs["row_lengths"],
        )  # [kept, vocab]
        return loss_sums(logits, labels, inputs["on_anchor"], base_logits)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Called after clipping and before the optimiser's step: the last place to stop."""
        found = super()._get_grad_norm(model, grad_norm)
        self.grad_norm = float(found)
        if not math.isfinite(self.grad_norm):
            self._stop_not_finite("gradient norm", self.grad_norm)
        return found

    def _stop_not_finite(self, what: str, value: float) -> None:
        rate = self.optimizer.param_groups[0]["lr"]
        raise TrainingFailed(
            f"step {self.state.global_step + 1}: the {what} is {value} at learning rate "
            f"{rate:.2e}; nothing of this step was kept. Lower optimiser.learning_rate, lengthen "
            "schedule.warmup, or set dtype: float32"
        )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The Trainer's own files, written aside, then sealed under the step's name."""
        step = self.state.global_step
        written = Path(self.args.output_dir) / f"checkpoint-{step}"
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                self.sealed = seal(written, self._folder, step, self._identity)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise TrainingFailed(
                f"the checkpoint of step {step} could not be written to "
                f"{self._folder.checkpoints}: {error}; make room there and run again, training "
                "goes on from the last whole checkpoint"
            ) from error
        self.accelerator.wait_for_everyone()


class StepWatcher(TrainerCallback):  # type: ignore[misc]  # untyped library
    """Writes the metrics of each step and hands each sealed checkpoint to the caller."""

    def __init__(
        self,
        metrics: MetricsFile | None,
        display: ProgressDisplay | None,
        on_checkpoint: OnCheckpoint,
    ) -> None:
        self.trainer: MixedTrainer | None = None
        self.stopped_early = False
        self._metrics = metrics
        self._display = display
        self._on_checkpoint = on_checkpoint
        self._began = 0.0
        self._rate = 0.0

    def on_step_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        self._began = time.monotonic()

    def on_pre_optimizer_step(
        self, args: Any, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        self._rate = self._owner().optimizer.param_groups[0]["lr"]

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        trainer = self._owner()
        device = trainer.args.device
        parts = torch.cat([trainer.sums, torch.tensor([float(trainer.tokens)])]).to(device)
        target, anchors, kl, target_tokens, anchor_tokens, tokens = trainer.accelerator.reduce(
            parts, reduction="sum"
        ).tolist()
        trainer.sums.zero_()
        trainer.tokens = 0
        if self._metrics is None or self._display is None:
            return
        weight = trainer._recipe.kl.weight
        metrics = StepMetrics(
            step=state.global_step,
            loss=(target + anchors + weight * kl) / (target_tokens + anchor_tokens),
            loss_target=target / target_tokens if target_tokens else None,
            loss_anchors=anchors / anchor_tokens if anchor_tokens else None,
            kl=kl / anchor_tokens if anchor_tokens and weight else None,
            learning_rate=self._rate,
            grad_norm=trainer.grad_norm,
            tokens_target=int(target_tokens),
            tokens_anchors=int(anchor_tokens),
            tokens=int(tokens),
            seconds=round(time.monotonic() - self._began, 3),
        )
        self._metrics.write(metrics)
        self._display.step(metrics)

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        trainer = self._owner()
        stop = [False]
        if trainer.is_world_process_zero():
            assert trainer.sealed is not None
            assert self._display is not None
            self._display.pause()
            with as_it_was():
                stop = [self._on_checkpoint(state.global_step, trainer.sealed / "adapter")]
            self._display.go_on()
        if trainer.accelerator.num_processes > 1:
            broadcast_object_list(stop)
        if stop[0]:
            self.stopped_early = True
            control.should_training_stop = True

    def _owner(self) -> MixedTrainer:
        assert self.trainer is not None
        return self.trainer


@contextmanager
def as_it_was() -> Iterator[None]:
    """Gives back torch's thread count and every random state: what runs within may be another
    engine with settings of its own."""
    threads = torch.get_num_threads()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
