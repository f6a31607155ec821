"""The `trainer` command. Exit codes: 0 done, 2 bad input or usage, 3 done, and the gate did not
pass what came out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from gateway.errors import GatewayError
from trainer.errors import TrainerError
from trainer.evals import cli as evals_cli
from trainer.probes import cli as probes_cli
from trainer.report import cli as report_cli

NOT_PASSED = 3


class _Explained(TyperGroup):
    """Errors to messages and exit codes, in one place."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (TrainerError, GatewayError, OSError) as error:
            Console(stderr=True).print(Text(f"error: {error}", style="red"), soft_wrap=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Explained, no_args_is_help=True, help="Make adapters, measure them, register them."
)


@app.callback()
def main() -> None:
    """Make adapters, measure them, register them."""


@app.command("train")
def train_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe file.")],
    run: Annotated[
        Path | None, typer.Option(help="The run's folder; default: runs/NAME.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A folder or a hub id, over the recipe's.", show_default=False),
    ] = None,
) -> None:
    """Train, evaluate, choose, judge and report; run again, it goes on where it was.

    Exit code 3 says that the run is whole and its adapter did not pass the gate.
    """
    from gateway.model.source import resolve_model
    from trainer.folder import RunFolder
    from trainer.gate.values import Verdict
    from trainer.pipeline import Run
    from trainer.recipe_file import check_files, read_recipe
    from trainer.report.cli import print_verdict, write_report

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("trainer").setLevel(logging.INFO)
    settings = read_recipe(recipe)
    check_files(settings)
    folder = RunFolder(run or Path("runs") / settings.name)
    files = resolve_model(model or settings.model, progress=print)
    console = Console()
    verdict = Run(settings, files, folder, show=True).execute()
    if verdict is None:  # a process that only helped to train
        return
    write_report(folder)
    print_verdict(console, verdict)
    console.print(Text(verdict.reason), soft_wrap=True)
    console.print(Text(f"report: {folder.report_html}"), soft_wrap=True)
    if verdict.verdict is not Verdict.PASS:
        raise typer.Exit(NOT_PASSED)
    console.print(Text(f"put it in the registry with: trainer register {folder.root}"))


@app.command("register")
def register_command(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    registry: Annotated[
        str, typer.Option(help="The registry's folder or URL.", envvar="GATEWAY_REGISTRY")
    ] = "registry",
    version: Annotated[
        str | None, typer.Option(help="Default: the next whole number.", show_default=False)
    ] = None,
    approved: Annotated[
        bool, typer.Option(help="Publish it as approved; only past its gate.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(help="The run's base, over the recipe's.", show_default=False),
    ] = None,
) -> None:
    """Put a run's adapter into the registry as the next version, a candidate."""
    from gateway.model.source import resolve_model
    from gateway.registry.opening import open_registry
    from gateway.registry.values import AdapterState
    from trainer.folder import RunFolder
    from trainer.gate.codec import read_verdict
    from trainer.gate.values import Verdict
    from trainer.recipe_file import read_recipe
    from trainer.registering import register

    folder = RunFolder(run)
    verdict = read_verdict(folder.gate)
    if approved and verdict.verdict is not Verdict.PASS:
        raise TrainerError(
            f"the gate says {verdict.verdict.value}: {verdict.reason}. Register it as a candidate; "
            "`gateway adapters approve --override --reason` is the way past a gate"
        )
    files = resolve_model(model or read_recipe(folder.recipe).model, progress=print)
    artifact = register(
        folder,
        open_registry(registry),
        files,
        version=version,
        state=AdapterState.APPROVED if approved else AdapterState.CANDIDATE,
    )
    print(f"{artifact.ref} {artifact.state} {artifact.digest[:12]} gate {artifact.gate.verdict}")
    if not approved:
        print(f"approve it with: gateway adapters approve {artifact.ref} --reason ...")


evals_cli.register(app)
report_cli.register(app)
probes_cli.register(app)
