"""A recipe: one reviewed YAML file that says how an adapter is made. Parsed once, strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import RecipeError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(_Strict):
    """The low-rank update's shape."""

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


class Data(_Strict):
    """Rows of `{"messages": [...]}`; paths are relative to the recipe."""

    train: Path
    test: Path
    anchors: Path
    general: Path  # prompts held out of training; their answers are not read
    anchor_share: float = Field(default=0.3, ge=0, lt=1)  # of the rows of a batch, on average


class Recipe(_Strict):
    """Everything that decides what comes out."""

    name: str
    workflow: str
    description: str = ""
    task: Literal["label", "json"]
    data: Data
    lora: Lora = Lora()
    steps: int = Field(ge=1)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    warmup_steps: int = Field(default=10, ge=0)
    max_tokens: int = Field(default=256, ge=8)  # longer rows are left out, and counted
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int = 1


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`, with its data paths made absolute. Raises RecipeError."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    if not isinstance(settings, dict):
        raise RecipeError(f"{path} is not a mapping of settings")
    try:
        recipe = Recipe.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(
            f"{path}: {first['msg']}", field=".".join(str(part) for part in first["loc"])
        ) from None
    folder = path.parent
    data = recipe.data.model_copy(
        update={
            key: (folder / getattr(recipe.data, key)).resolve()
            for key in ("train", "test", "anchors", "general")
        }
    )
    return recipe.model_copy(update={"data": data})
