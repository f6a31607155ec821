"""`gateway serve` and `gateway config`: every setting is a flag, made from `Settings` itself."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.options import AsJson, ConfigFile
from gateway.cli.outcomes import coded, print_json
from gateway.log.location import Location
from gateway.settings import Settings, read_settings

app = typer.Typer()

_FLAG_TYPES = (str, int, float, bool, Path)


def flags() -> dict[str, Any]:
    """The settings that a flag can state, by name, with the flag's type."""
    found = {}
    for name, field in Settings.model_fields.items():
        union = get_origin(field.annotation) in (Union, types.UnionType)
        parts = get_args(field.annotation) if union else (field.annotation,)
        kinds = [part for part in parts if part is not type(None)]
        if kinds == [*get_args(Location)]:
            found[name] = str  # parsed with the other settings
        elif len(kinds) == 1 and get_origin(kinds[0]) is tuple:
            found[name] = str  # several, by commas
        elif len(kinds) == 1 and (kinds[0] in _FLAG_TYPES or get_origin(kinds[0]) is Literal):
            found[name] = kinds[0]
    return found


def _with_flags(function: Callable[..., None]) -> Callable[..., None]:
    """`function(config, **flags)` as Typer must see it: one option for each setting."""
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, typer.Option(help=_help(name), show_default=False)],
        )
        for name, kind in flags().items()
    ]
    own = [
        parameter
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    signature = inspect.Signature([*own, *parameters])
    function.__dict__["__signature__"] = signature
    function.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return function


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    text = field.description or ""
    default = "" if field.default in (None, "", ()) else f" (default {field.default})"
    return f"{text[:1].upper()}{text[1:]}{default}."


@app.command()
@_with_flags
@coded
def serve(config: ConfigFile = None, **given: Any) -> None:
    """Serve until stopped. Flags win over GATEWAY_* in the environment, and those over the file."""
    from gateway.serve import run

    asyncio.run(run(read_settings(given, file=config)))


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
