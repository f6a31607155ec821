"""The options that every command on a workflow has, added to each by one decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from gateway.cli.options import (
    ADMIN_URL,
    STATE,
    WAIT_S,
    AdminUrl,
    AsJson,
    Expected,
    State,
    Wait,
)
from gateway.cli.signatures import shown_with

_PARAMETER = "way"


@dataclass(frozen=True, slots=True)
class Way:
    """How a command goes to the gateway, or to its log, and how its outcome is said."""

    wait: Wait = WAIT_S
    expected: Expected = None
    state: State = STATE
    admin_url: AdminUrl = ADMIN_URL
    as_json: AsJson = False


def on_workflow(function: Callable[..., None]) -> Callable[..., None]:
    """`function(…, way)` as Typer must see it: its own options, then those of `Way`."""
    own = [
        parameter
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.name != _PARAMETER
    ]
    shared = list(inspect.signature(Way, eval_str=True).parameters.values())

    @functools.wraps(function)
    def command(**given: Any) -> None:
        way = Way(**{field.name: given.pop(field.name) for field in fields(Way)})
        function(**given, way=way)

    return shown_with(command, [*own, *shared])
