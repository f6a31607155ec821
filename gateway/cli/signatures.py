"""Commands whose options are not all written in their functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence


def shown_with(
    function: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """`function`, which Typer sees with `parameters`."""
    signature = inspect.Signature(parameters)
    function.__dict__["__signature__"] = signature
    function.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return function
