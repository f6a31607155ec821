"""The `guard:` of a workflow to its value, every fault with its place. No I/O."""

from __future__ import annotations

import re
from typing import Any

import yaml
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for

from gateway.guard.panel import bound_of
from gateway.guard.patterns import PatternError, compiled
from gateway.guard.sequential import MOST_BOUND
from gateway.guard.values import OF_TEXT, CheckKind, CheckRule, GuardRule, OnTrip, Reference
from gateway.routesfile.fields import FieldReader, Nodes
from gateway.routesfile.guard_keys import GUARD, keys_of
from gateway.routesfile.json_values import is_json_mapping
from gateway.routing.table import NAME_PATTERN

_MOST_LABELS = 200


class GuardReader:
    """Reads one guard with the file's parser."""

    def __init__(self, reader: FieldReader) -> None:
        self._fields = reader.fields
        self._mapping = reader.mapping
        self._value = reader.value
        self._fault = reader.fault

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
        for check, why in hopeless(rule):
            place = _mapping_node(stated[1] if stated else node)
            self._fault(place, f"{path}.checks.{check.kind}", why)
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
                compiled(values["pattern"])
            except PatternError as error:
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
        if not re.fullmatch(NAME_PATTERN, values.get("set", "default")):
            message = "is no name of a probe set: lower-case letters, digits, dots, dashes"
            self._fault(fields["set"][1], f"{path}.set", message)
            return None
        if ("window" in fields) != ("threshold" in fields):
            self._fault(key, path, "window and threshold go together")
            return None
        if any(value is None for value in values.values()):
            return None
        if any(k.required and k.name not in values for k in keys):
            return None
        if isinstance(values.get("reference"), str):
            values["compared"] = Reference(values.pop("reference"))
            if (why := _uncomparable(kind, values)) is not None:
                self._fault(fields["reference"][1], f"{path}.reference", why)
                return None
        if kind is CheckKind.PROBES:
            values["compared"] = Reference.BASE
        action = values.pop("on_trip", None)
        return CheckRule(kind, on_trip=None if action is None else OnTrip(action), **values)

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


def _uncomparable(kind: CheckKind, values: dict[str, Any]) -> str | None:
    """Why a check cannot have the reference that it names."""
    compared: Reference = values["compared"]
    if compared is not Reference.CONTROL and kind not in OF_TEXT:
        return f"is {compared}; {kind} is no property of an answer: state the reference as a number"
    if "reference_items" in values:
        return f"is {compared}, which has its own number of items; leave out reference_items"
    if "window" in values:
        return f"is {compared}; a plain rule (window, threshold) has no reference"
    return None


def hopeless(rule: GuardRule) -> list[tuple[CheckRule, str]]:
    """The checks that nothing could ever trip, with the reason. Of references that are not known
    yet nothing is said."""
    testing = [check for check in rule.checks if check.window is None]
    weight = sum(check.weight for check in testing)
    found = []
    for check in testing:
        if check.compared is Reference.REPORT and check.reference_items is None:
            continue
        if bound_of(check, rule.alpha * check.weight / weight)[0] >= MOST_BOUND:
            items = check.reference_items
            with_items = f" (with what {items} items leave open)" if items else ""
            message = (
                f"reference and tolerance{with_items} come to {MOST_BOUND} or more; nothing could "
                "ever trip it"
            )
            found.append((check, message))
    return found


def _mapping_node(node: yaml.Node) -> yaml.MappingNode:
    assert isinstance(node, yaml.MappingNode)
    return node
