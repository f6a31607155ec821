"""`gateway serve` and `gateway config`: every setting is a flag, made from `Settings` itself."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.flags import with_flags
from gateway.cli.options import AsJson, ConfigFile
from gateway.cli.outcomes import coded, print_json
from gateway.settings import Settings, read_settings

app = typer.Typer()


@app.command()
@with_flags()
@coded
def serve(config: ConfigFile = None, **given: Any) -> None:
    """Serve until stopped. Flags win over GATEWAY_* in the environment, and those over the file."""
    import uvloop

    from gateway.serve import run

    uvloop.run(run(read_settings(given, file=config)))


@app.command("config")
@coded
def show_config(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """The settings in force: file and environment over the defaults."""
    settings = read_settings({}, file=config)
    values = settings.model_dump(mode="json")
    if as_json:
        print_json(values)
        return
    table = Table("setting", "value", "what it is")
    for name, value in values.items():
        shown = "-" if value is None else str(value)
        table.add_row(name, shown, Settings.model_fields[name].description or "")
    Console().print(table)
