"""The `trainer` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.errors import GatewayError
from gateway.model.source import resolve_model
from trainer.errors import TrainerError
from trainer.recipe import read_recipe

app = typer.Typer(no_args_is_help=True, help="Make adapters, measure them, register them.")

RunOption = Annotated[Path | None, typer.Option(help="The run's folder (default runs/NAME).")]
ModelOption = Annotated[str | None, typer.Option(help="Base model: folder or hub id.")]


@app.callback()
def main() -> None:
    """Make adapters, measure them, register them."""


@app.command("train")
def train_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe file.")],
    run: RunOption = None,
    model: ModelOption = None,
) -> None:
    """Train an adapter from a recipe."""
    from trainer.train import train

    try:
        settings = read_recipe(recipe)
        folder = run or Path("runs") / settings.name
        adapter = train(settings, recipe, resolve_model(model, progress=print), folder)
    except (TrainerError, GatewayError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"adapter written to {adapter}")
