"""One mapping of a file to nodes and values by its keys, every fault with its place. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from gateway.routesfile.keys import Key

Nodes = dict[str, tuple[yaml.Node, yaml.Node]]


@dataclass(frozen=True, slots=True)
class FieldReader:
    """Reads with the file's parser: `mapping` gives keys and nodes, `value` a node's value,
    `fault` notes a problem."""

    mapping: Callable[[yaml.MappingNode, str, tuple[str, ...] | None], Nodes]
    value: Callable[[yaml.Node], Any]
    fault: Callable[[yaml.Node, str, str], None]

    def fields(
        self, node: yaml.Node, path: str, keys: Sequence[Key]
    ) -> tuple[Nodes, dict[str, Any]]:
        """Nodes and values of a mapping; values of a wrong kind or size are noted and left out."""
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, path, "must be a mapping")
            return {}, {}
        fields = self.mapping(node, path, tuple(key.name for key in keys))
        values: dict[str, Any] = {}
        for key in keys:
            at = f"{path}.{key.name}"
            if key.name not in fields:
                if key.required:
                    self.fault(node, at, f"is missing: {key.meaning}")
                continue
            value_node = fields[key.name][1]
            value = self.value(value_node)
            if not key.is_kind_of(value):
                self.fault(value_node, at, f"must be a {key.kind}")
            elif not key.allows(value):
                self.fault(value_node, at, f"is {value}; it must be {key.limits}")
            else:
                values[key.name] = value
        return fields, values
