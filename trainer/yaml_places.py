"""Where in a YAML text each setting stands, so that a fault can name its line."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

Path = tuple[str | int, ...]


def places(root: yaml.Node | None) -> Mapping[Path, int]:
    """The 1-based line of every key and list item, by its path from the top."""
    found: dict[Path, int] = {}
    if root is not None:
        _walk(root, (), found)
    return found


def repeated(root: yaml.Node | None) -> tuple[Path, int] | None:
    """The first key that stands twice in one mapping, with its second line."""
    pending: list[tuple[Path, yaml.Node]] = [((), root)] if root is not None else []
    while pending:
        path, node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = str(key.value)
                if name in seen:
                    return (*path, name), key.start_mark.line + 1
                seen.add(name)
                pending.append(((*path, name), value))
        elif isinstance(node, yaml.SequenceNode):
            pending.extend(((*path, i), item) for i, item in enumerate(node.value))
    return None


def nearest_line(found: Mapping[Path, int], path: Path) -> int:
    """The line of `path`, or of the closest setting around it; 0 where there is none."""
    for length in range(len(path), 0, -1):
        if path[:length] in found:
            return found[path[:length]]
    return 0


def _walk(node: yaml.Node, path: Path, found: dict[Path, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            at = (*path, str(key.value))
            found[at] = key.start_mark.line + 1
            _walk(value, at, found)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            found[(*path, i)] = item.start_mark.line + 1
            _walk(item, (*path, i), found)
