"""The key `on_error`: which errors send a request on to the fallback. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.errors import BadInput
from gateway.routing.table import ErrorClass


def error_classes(stated: Sequence[Any]) -> tuple[ErrorClass, ...]:
    """The classes that a list names, in the order of their declaration. Raises BadInput."""
    known = ", ".join(ErrorClass)
    if not stated:
        raise BadInput(f"is empty; name some of {known}, or leave it out")
    for one in stated:
        if one not in tuple(ErrorClass):
            raise BadInput(f"holds {one!r}; known are {known}")
    return tuple(one for one in ErrorClass if one in stated)
