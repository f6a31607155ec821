"""Settings as flags of a command: each is one, made from `Settings` itself."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from gateway.cli.signatures import shown_with
from gateway.log.location import Location
from gateway.settings import Settings

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


def with_flags(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`function(config, **flags)` as Typer must see it: one option for each setting; of `names`
    alone where any are given."""
    return lambda function: _with_flags(function, names)


def _with_flags(function: Callable[..., None], names: Sequence[str]) -> Callable[..., None]:
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, typer.Option(help=_help(name), show_default=False)],
        )
        for name, kind in flags().items()
        if not names or name in names
    ]
    own = [
        parameter
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    return shown_with(function, [*own, *parameters])


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    text = field.description or ""
    default = "" if field.default in (None, "", ()) else f" (default {field.default})"
    return f"{text[:1].upper()}{text[1:]}{default}."
