"""The reference of a Typer command, from the command itself."""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer

from scripts.docs.markdown import code, sentence, table

_KINDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "switch",
    Path: "path",
}


def page(name: str, app: typer.Typer) -> str:
    """Every command of `app`, which is called as `name`."""
    root: Any = typer.main.get_command(app)
    found = [(path, command) for path, command in _commands(name, root) if not command.hidden]
    listing = table(
        ("command", "what it does"),
        [(f"[`{path}`](#{_anchor(path)})", _first(command.help)) for path, command in found],
    )
    sections = [_section(path, command) for path, command in found]
    return "\n".join(
        [f"# The `{name}` command\n", f"{_paragraphs(root.help)}\n", listing, *sections]
    )


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(f"{path} {name}", child)


def _section(path: str, command: Any) -> str:
    context = command.context_class(command, info_name=path)
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"## {path}\n", f"```\n{usage}\n```\n", f"{_paragraphs(command.help)}\n"]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    if arguments:
        rows = [
            (code(p.metavar or p.name), _kind(p), _default(p), sentence(p.help or ""))
            for p in arguments
        ]
        parts.append(table(("argument", "kind", "default", "what it is"), rows))
    if options:
        stated = [
            (
                ", ".join(code(o) for o in [*p.opts, *p.secondary_opts]),
                _kind(p),
                _default(p),
                code(_variable(p.envvar)),
                sentence(p.help or ""),
            )
            for p in options
        ]
        parts.append(table(("option", "kind", "default", "environment", "what it is"), stated))
    return "\n".join(parts)


def _kind(parameter: Any) -> str:
    annotation: Any = parameter.type_descriptor.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is Literal:
        return ", ".join(code(choice) for choice in get_args(annotation))
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return ", ".join(code(choice.value) for choice in annotation)
    many = get_origin(annotation) in (list, tuple)
    inner = get_args(annotation)[0] if many else annotation
    text = _KINDS.get(inner, getattr(inner, "__name__", str(inner)))
    return f"{text}, may be repeated" if many or parameter.multiple else text


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if callable(value) or value is None or value is False or value == "":
        return ""
    return code(getattr(value, "value", value))


def _variable(envvar: object) -> str:
    return ", ".join(envvar) if isinstance(envvar, list | tuple) else str(envvar or "")


def _paragraphs(text: str | None) -> str:
    parts = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts)


def _first(text: str | None) -> str:
    return _paragraphs(text).split("\n\n")[0]


def _anchor(path: str) -> str:
    return path.replace(" ", "-").lower()
