"""The `guard:` of a workflow to its value, every fault with its place. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for

from gateway.guard.panel import bound_of
from gateway.guard.sequential import MOST_BOUND
from gateway.guard.values import CheckKind, CheckRule, GuardRule, OnTrip
from gateway.routesfile.guard_keys import GUARD, keys_of
from gateway.routesfile.json_values import is_json_mapping
from gateway.routesfile.keys import Key

Nodes = dict[str, tuple[yaml.Node, yaml.Node]]
Mapping_ = Callable[[yaml.MappingNode, str, tuple[str, ...] | None], Nodes]
_MOST_LABELS = 200


class GuardReader:
    """Reads one guard with the file's parser: `mapping` gives keys and nodes, `value` a node's
    value, `fault` notes a problem."""

    def __init__(
        self,
        mapping: Mapping_,
        value: Callable[[yaml.Node], Any],
        fault: Callable[[yaml.Node, str, str], None],
    ) -> None:
        self._mapping = mapping
        self._value = value
        self._fault = fault

    def read(self, node: yaml.Node, path: str) -> GuardRule | None:
        """The guard, or None where it has faults (all are noted)."""
        fields, values = self._fields(node, path, GUARD)
        self._on_trip(fields, values, path)
        checks: list[CheckRule] = []
        stated = fields.get("checks")
        if stated is not None and "checks" in values:
            kinds = tuple(kind.value for kind in CheckKind)
            entries = self._mapping(_mapping_node(stated[1]), f"{path}.checks", kinds)
            for name, (key, check_node) in entries.items():
                at = f"{path}.checks.{name}"
                check = self._check(CheckKind(name), key, check_node, at)
                if check is not None:
                    checks.append(check)
            if not entries:
                self._fault(stated[1], f"{path}.checks", f"name at least one of {', '.join(kinds)}")
        if not checks:
            return None
        rule = GuardRule(
            tuple(checks), values.get("alpha", 0.01), OnTrip(values.get("on_trip", "disable"))
        )
        testing = sum(check.weight for check in checks if check.window is None)
        for check in checks:
            if check.window is None and _is_hopeless(check, rule.alpha * check.weight / testing):
                self._fault(
                    _mapping_node(stated[1] if stated else node),
                    f"{path}.checks.{check.kind}",
                    f"reference and tolerance (with what {check.reference_items} items leave "
                    f"open) come to {MOST_BOUND} or more; nothing could ever trip it"
                    if check.reference_items
                    else f"reference and tolerance come to {MOST_BOUND} or more; nothing could "
                    "ever trip it",
                )
        return rule

    def _check(
        self, kind: CheckKind, key: yaml.Node, node: yaml.Node, path: str
    ) -> CheckRule | None:
        keys = keys_of(kind)
        if isinstance(node, yaml.ScalarNode) and self._value(node) is None:
            node = yaml.MappingNode("tag:yaml.org,2002:map", [], key.start_mark, key.end_mark)
        fields, values = self._fields(node, path, keys)
        self._on_trip(fields, values, path)
        for name in ("labels", "scripts"):
            if name in values:
                values[name] = self._texts(fields[name][1], values[name], f"{path}.{name}")
        if "pattern" in values:
            try:
                re.compile(values["pattern"])
            except re.error as error:
                self._fault(fields["pattern"][1], f"{path}.pattern", f"does not compile: {error}")
                return None
        if "schema" in values:
            if not is_json_mapping(values["schema"]):
                message = "must be a JSON schema: a mapping of text to JSON values (quote dates)"
                self._fault(fields["schema"][1], f"{path}.schema", message)
                return None
            try:
                validator_for(values["schema"]).check_schema(values["schema"])
            except SchemaError as error:
                self._fault(fields["schema"][1], f"{path}.schema", f"no schema: {error.message}")
                return None
        if ("window" in fields) != ("threshold" in fields):
            self._fault(key, path, "window and threshold go together")
            return None
        if any(value is None for value in values.values()):
            return None
        if any(k.required and k.name not in values for k in keys):
            return None
        action = values.pop("on_trip", None)
        return CheckRule(kind, on_trip=None if action is None else OnTrip(action), **values)

    def _fields(
        self, node: yaml.Node, path: str, keys: Sequence[Key]
    ) -> tuple[Nodes, dict[str, Any]]:
        """Nodes and values of a mapping; values of a wrong kind or size are noted and left out."""
        if not isinstance(node, yaml.MappingNode):
            self._fault(node, path, "must be a mapping")
            return {}, {}
        fields = self._mapping(node, path, tuple(key.name for key in keys))
        values: dict[str, Any] = {}
        for key in keys:
            at = f"{path}.{key.name}"
            if key.name not in fields:
                if key.required:
                    self._fault(node, at, f"is missing: {key.meaning}")
                continue
            value_node = fields[key.name][1]
            value = self._value(value_node)
            if not isinstance(value, key.kinds) or isinstance(value, bool):
                self._fault(value_node, at, f"must be a {key.kind}")
            elif not key.allows(value):
                self._fault(value_node, at, f"is {value}; it must be {key.limits}")
            else:
                values[key.name] = value
        return fields, values

    def _on_trip(self, fields: Nodes, values: dict[str, Any], path: str) -> None:
        known = [action.value for action in OnTrip]
        if "on_trip" in values and values["on_trip"] not in known:
            stated = values.pop("on_trip")
            message = f"is {stated!r}; it must be one of {', '.join(known)}"
            self._fault(fields["on_trip"][1], f"{path}.on_trip", message)

    def _texts(self, node: yaml.Node, values: list[Any], path: str) -> tuple[str, ...] | None:
        if not values or len(values) > _MOST_LABELS or len(set(map(str, values))) < len(values):
            self._fault(node, path, f"must be 1 to {_MOST_LABELS} different texts")
            return None
        if not all(isinstance(value, str) and value.strip() == value != "" for value in values):
            self._fault(node, path, "each must be a text without outer white space (quote it)")
            return None
        return tuple(values)


def _is_hopeless(check: CheckRule, alpha: float) -> bool:
    return bound_of(check, alpha)[0] >= MOST_BOUND


def _mapping_node(node: yaml.Node) -> yaml.MappingNode:
    assert isinstance(node, yaml.MappingNode)
    return node
