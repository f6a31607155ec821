"""A recipe: one reviewed YAML file that says how an adapter is made. The schema alone: it is read
and written in `trainer.recipe_file`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """A JSONL file of `{"messages": [...]}` rows, relative to the recipe, with where it is from."""

    path: Path
    source: str
    licence: str


class AnchorPart(Part):
    """Rows that state what must not change."""

    kind: Literal["chat", "refusal", "near", "counter"]
    # given: the row's own answer is right. base: the base model answers the prompt itself.
    answers: Literal["given", "base"] = "base"


class Anchors(_Strict):
    """What must not change, mixed into every stretch of training."""

    share: float = Field(default=0.3, ge=0, lt=1)  # of the tokens that carry loss
    parts: tuple[AnchorPart, ...] = ()
    answer_tokens: int = Field(default=96, ge=8)  # length limit of the base's own answers


class Data(_Strict):
    target: tuple[Part, ...] = Field(min_length=1)
    anchors: Anchors = Anchors()
    max_tokens: int = Field(default=256, ge=8)  # longer rows are left out, and counted
    near_duplicate: float = Field(default=0.75, gt=0, le=1)  # similarity; see trainer.data.near
    max_majority: float = Field(default=0.9, gt=0, le=1)  # largest share of one target answer
    allow_leaks: bool = False  # rows that stand in an eval suite too


class Kl(_Strict):
    """KL(base || adapter) on the anchors' answers, the base being the same model with the adapter
    off. The loss is the mean over answer tokens of cross entropy + weight * KL (KL on anchors)."""

    weight: float = Field(default=0.5, ge=0)


class Lora(_Strict):
    """The low-rank update's shape (PEFT's `LoraConfig`)."""

    rank: int = Field(default=8, ge=1, le=256)
    alpha: float = Field(default=16, gt=0)
    use_rslora: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


class Optimiser(_Strict):
    """AdamW."""

    learning_rate: float = Field(default=4e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)


class Schedule(_Strict):
    kind: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)  # share of the steps


class Budget(_Strict):
    steps: int = Field(ge=1)
    batch_size: int = Field(default=8, ge=1)  # rows a step and device, before accumulation
    gradient_accumulation: int = Field(default=1, ge=1)
    gradient_checkpointing: bool = False


class Checkpoints(_Strict):
    every: int = Field(default=25, ge=1)  # steps
    # Early stop: checkpoints in a row, none of them better on the target with guardrails held.
    patience: int = Field(default=2, ge=1)


class Suites(_Strict):
    """Folders with a `suite.yaml`, relative to the recipe; `default` is the shipped guardrails."""

    target: Path
    guardrails: tuple[str, ...] = Field(default=("default",), min_length=1)


class Choice(_Strict):
    strengths: tuple[float, ...] = (1.0, 0.75, 0.5)  # of the LoRA scaling
    averages: bool = True  # of neighbouring checkpoints
    # Candidates tried beside the checkpoints as trained, the most promising first.
    more: int = Field(default=4, ge=0)


class Gate(_Strict):
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    min_gain: float = Field(default=0.0, ge=0)
    margins: dict[str, float] = {}  # by measure (`suite/check`), over the suites' own


class Recipe(_Strict):
    """Everything that decides what comes out."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    workflow: str
    description: str = ""
    model: str | None = None  # folder or hub id; None: the default base model
    data: Data
    kl: Kl = Kl()
    lora: Lora = Lora()
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    budget: Budget
    checkpoints: Checkpoints = Checkpoints()
    suites: Suites
    choice: Choice = Choice()
    gate: Gate = Gate()
    # Of the frozen base. auto: bfloat16 on CUDA, float32 on CPU (a CPU without bfloat16
    # instructions takes many times as long in it). The LoRA weights are float32 always.
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 1
