"""Markdown as text: tables, and the marked blocks of a page that are made, not written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

_BLOCK = re.compile(
    r"^<!-- table: (?P<name>\S+) -->\n(?P<body>.*?)^<!-- end -->$", re.DOTALL | re.MULTILINE
)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A pipe table; `|` and line ends in cells are escaped."""
    lines = [_row(head), _row(["---"] * len(head))]
    return "\n".join([*lines, *(_row(row) for row in rows)]) + "\n"


def code(text: object) -> str:
    """`text` as code; nothing for what is not there."""
    return "" if text is None or text == "" else f"`{text}`"


def sentence(text: str) -> str:
    """`text` on one line, with a capital and a full stop."""
    flat = " ".join(text.split())
    if not flat:
        return ""
    word = flat.split(" ", 1)[0].rstrip(",;:")
    plain = word.replace("-", "").isalpha()  # name@version stays as it is
    first = flat[0].upper() if plain else flat[0]
    return first + flat[1:] + ("" if flat[-1] in ".!?" else ".")


def blocks(page: str) -> list[str]:
    """The names of the blocks that `page` holds."""
    return [match["name"] for match in _BLOCK.finditer(page)]


def filled(page: str, makers: Mapping[str, Callable[[], str]], where: str) -> str:
    """`page` with each marked block made anew. Raises ValueError for a name that no maker has."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in makers:
            raise ValueError(f"{where}: no table is called {name}; known are {', '.join(makers)}")
        return f"<!-- table: {name} -->\n{makers[name]().rstrip()}\n<!-- end -->"

    return _BLOCK.sub(fill, page)


def _row(cells: Sequence[object]) -> str:
    texts = [" ".join(str(cell).split()).replace("|", "\\|") for cell in cells]
    return "| " + " | ".join(texts) + " |"
