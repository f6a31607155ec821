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


@app.command("evaluate")
def evaluate_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe file.")],
    run: RunOption = None,
    model: ModelOption = None,
) -> None:
    """Measure a run's adapter against the base; writes RUN/report.json."""
    import json
    import tempfile

    from trainer.evaluate import evaluate

    try:
        settings = read_recipe(recipe)
        folder = run or Path("runs") / settings.name
        with tempfile.TemporaryDirectory() as work:
            report = evaluate(
                settings, resolve_model(model, progress=print), folder / "adapter", Path(work)
            )
    except (TrainerError, GatewayError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "per_item"}, indent=2))


@app.command("register")
def register_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe file.")],
    version: Annotated[str, typer.Option(help="The adapter's version.")] = "1",
    registry: Annotated[Path, typer.Option(help="The registry's folder.")] = Path("registry"),
    approved: Annotated[bool, typer.Option(help="Publish it as approved.")] = False,
    run: RunOption = None,
    model: ModelOption = None,
) -> None:
    """Publish a run's adapter with its report and recipe."""
    import json

    from gateway.registry.store import Registry
    from gateway.registry.values import AdapterState
    from gateway.routing.table import AdapterRef

    try:
        settings = read_recipe(recipe)
        folder = run or Path("runs") / settings.name
        report = folder / "report.json"
        if not report.is_file():
            raise TrainerError(f"{report} is missing; run `trainer evaluate {recipe}` first")
        files = resolve_model(model, progress=print)
        artifact = Registry(registry).add(
            folder / "adapter",
            ref=AdapterRef(settings.name, version),
            base_name=files.name,
            base_fingerprint=files.fingerprint,
            workflow=settings.workflow,
            description=settings.description,
            state=AdapterState.APPROVED if approved else AdapterState.CANDIDATE,
            report=json.loads(report.read_text()),
            recipe=recipe.read_text(encoding="utf-8"),
        )
    except (TrainerError, GatewayError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"{artifact.ref} {artifact.state} {artifact.digest[:12]} {artifact.size_bytes} bytes")
