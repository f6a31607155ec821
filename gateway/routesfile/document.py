"""YAML text to nodes. Nesting is bounded: the parser's time grows with the square of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

DEEPEST = 64  # mappings and lists inside each other; a schema in use has some ten


def compose(text: str) -> yaml.Node | None:
    """The root node, None for an empty text. Raises yaml.MarkedYAMLError and ReaderError."""
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_mapping_node(self, anchor: Any) -> Any:
        with self._inside():
            return super().compose_mapping_node(anchor)

    def compose_sequence_node(self, anchor: Any) -> Any:
        with self._inside():
            return super().compose_sequence_node(anchor)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > DEEPEST:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"mappings and lists stand more than {DEEPEST} deep inside each other",
                problem_mark=event.start_mark,
            )
        yield
        self._depth -= 1
