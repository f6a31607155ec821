"""The `trainer` command."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Make adapters, measure them, register them.")


@app.callback()
def main() -> None:
    """Make adapters, measure them, register them."""
