"""The known name that a mistyped one may have been meant as. Pure.

Bounded, as clients choose the name and operators may have ten thousand workflows: a typing error
keeps most letters in their places, so only the names that are closest by that are compared whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from heapq import nlargest
from operator import eq

_LONGEST = 128  # characters; no name is longer
_SHIFT = 2  # characters that a name may have too many or too few
_COMPARED = 50  # names


def nearest(name: str, names: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The known name most like `name`, if any is like it; `cutoff` as in difflib."""
    if len(name) > _LONGEST:
        return None
    known = list(names)
    if len(known) > _COMPARED:
        known = [one for one in known if abs(len(one) - len(name)) <= _SHIFT]
    if len(known) > _COMPARED:
        known = nlargest(_COMPARED, known, key=lambda one: _in_place(name, one))
    found = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return found[0] if found else None


def _in_place(one: str, other: str) -> int:
    """How many characters stand at the same place, from the front or from the back."""
    found: int = sum(map(eq, one, other)) + sum(map(eq, reversed(one), reversed(other)))
    return found
