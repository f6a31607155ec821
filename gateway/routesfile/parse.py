"""YAML text to typed entries, every fault with its line, column and field. No I/O."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway.errors import BadInput, Problem, TableRejected
from gateway.guard.values import GuardRule, Reference
from gateway.routesfile.canary import CanaryEntry, read_canary
from gateway.routesfile.document import compose
from gateway.routesfile.fields import FieldReader
from gateway.routesfile.guard import GuardReader
from gateway.routesfile.json_values import is_json_mapping
from gateway.routesfile.keys import BY_NAME, TOP, VERSION
from gateway.routesfile.on_error import error_classes
from gateway.routesfile.shadow import ShadowEntry, read_shadow
from gateway.routing.table import BASE, NAME_PATTERN, AdapterRef, ErrorClass

_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Place:
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One workflow as written. References are parsed, not looked up; None is the base model.

    Lines of `places` count from the one the workflow's name stands on, which is 0: an entry that
    only moved is the same.
    """

    workflow: str
    target: AdapterRef | None
    fallback: AdapterRef | None
    description: str
    max_tokens: int | None
    default_max_tokens: int | None
    temperature: float | None
    response_schema: Mapping[str, Any] | None
    guard: GuardRule | None
    shadow: ShadowEntry | None
    on_error: tuple[ErrorClass, ...]
    canary: CanaryEntry | None
    places: Mapping[str, Place] = field(compare=False)


@dataclass(frozen=True, slots=True)
class RoutesFile:
    """All entries, sorted by workflow, and the line that each one's name stands on."""

    entries: tuple[Entry, ...]
    lines: Mapping[str, int]
    file: str

    def place(self, entry: Entry, field_name: str) -> Place:
        """Where a field stands in the file; the workflow's name where it is left out."""
        found = entry.places.get(field_name, entry.places[""])
        return Place(self.lines[entry.workflow] + found.line, found.column)


def parse(text: str, file: str) -> RoutesFile:
    """The routes that `text` states. Raises TableRejected with all problems found."""
    return parse_with_nodes(text, file)[0]


def parse_with_nodes(text: str, file: str) -> tuple[RoutesFile, yaml.MappingNode]:
    """The same, and the whole document's nodes."""
    return _Parser(file).parse(text)


def parse_workflows(node: yaml.MappingNode, file: str) -> RoutesFile:
    """The routes that a mapping of workflow names states. Raises TableRejected."""
    return _Parser(file).workflows(node)


class _Parser:
    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: list[Problem] = []

    def parse(self, text: str) -> tuple[RoutesFile, yaml.MappingNode]:
        try:
            root = compose(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise TableRejected(
                [Problem(f"not YAML: {error.problem}", "", self._file, line, column)]
            ) from None
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            message = f"not YAML: the character #x{ord(text[error.position]):04x} is not allowed"
            raise TableRejected([Problem(message, "", self._file, line, column)]) from None
        if not isinstance(root, yaml.MappingNode):
            raise TableRejected(
                [Problem("the file must hold version and workflows", "", self._file, 1, 1)]
            )
        top = self._mapping(root, "", tuple(key.name for key in TOP))
        version = top.get("version")
        if version is None or version[1].value != str(VERSION):
            node = root if version is None else version[1]
            self._fault(node, "version", f"must be {VERSION}, the only version there is")
        found: RoutesFile | None = None
        workflows = top.get("workflows")
        if workflows is None:
            self._fault(root, "workflows", "is missing; name at least one workflow")
        elif not isinstance(workflows[1], yaml.MappingNode) or not workflows[1].value:
            self._fault(workflows[1], "workflows", "must map workflow names to routes")
        else:
            found = self.workflows(workflows[1])
        if self._problems or found is None:
            raise TableRejected(self._problems)
        return found, root

    def workflows(self, node: yaml.MappingNode) -> RoutesFile:
        """Raises TableRejected with the problems found so far and here."""
        entries: list[Entry] = []
        lines: dict[str, int] = {}
        for name, (key, value) in self._mapping(node, "workflows", None).items():
            entry = self._entry(name, key, value)
            if entry is not None:
                entries.append(entry)
                lines[name] = _place(key).line
        if self._problems:
            raise TableRejected(self._problems)
        return RoutesFile(tuple(sorted(entries, key=lambda e: e.workflow)), lines, self._file)

    def _entry(self, name: str, key: yaml.Node, node: yaml.Node) -> Entry | None:
        path = f"workflows.{name}"
        before = len(self._problems)
        if name == BASE or not _NAME.fullmatch(name):
            self._fault(
                key,
                path,
                "base is always there; choose another name"
                if name == BASE
                else "use lower-case letters, digits, '.', '_' and '-', at most 64 characters",
            )
        if not isinstance(node, yaml.MappingNode):
            self._fault(node, path, "must be a mapping with at least target")
            return None
        fields = self._mapping(node, path, tuple(BY_NAME))
        values: dict[str, Any] = {}
        for field_name, (_, value_node) in fields.items():
            value = self._value(value_node)
            form = BY_NAME[field_name]
            if field_name == "response_schema" and not is_json_mapping(value):
                self._fault(
                    value_node,
                    f"{path}.{field_name}",
                    "must be a JSON schema: a mapping of text to JSON values (quote dates)",
                )
                continue
            if not form.is_kind_of(value):
                self._fault(value_node, f"{path}.{field_name}", f"must be a {form.kind}")
            else:
                values[field_name] = value
                if not form.allows(value):
                    self._fault(
                        value_node,
                        f"{path}.{field_name}",
                        f"is {value}; it must be {form.limits}",
                    )
        if "target" not in fields:
            self._fault(
                node, f"{path}.target", "is missing; name an adapter (name@version) or base"
            )
        refs: dict[str, AdapterRef | None] = {}
        for field_name in ("target", "fallback"):
            text = values.get(field_name, BASE)
            try:
                refs[field_name] = None if text == BASE else AdapterRef.parse(text)
            except BadInput as error:
                self._fault(fields[field_name][1], f"{path}.{field_name}", error.message)
        limit, default = values.get("max_tokens"), values.get("default_max_tokens")
        if limit is not None and default is not None and default > limit:
            self._fault(
                fields["default_max_tokens"][1],
                f"{path}.default_max_tokens",
                f"is {default}, over this workflow's max_tokens of {limit}",
            )
        on_error: tuple[ErrorClass, ...] = ()
        if "on_error" in values:
            try:
                on_error = error_classes(values["on_error"])
            except BadInput as error:
                self._fault(fields["on_error"][1], f"{path}.on_error", error.message)
        reader = FieldReader(self._mapping, self._value, self._fault)
        guard: GuardRule | None = None
        if "guard" in values:
            guard = GuardReader(reader).read(fields["guard"][1], f"{path}.guard")
        shadow: ShadowEntry | None = None
        if "shadow" in values:
            shadow = read_shadow(reader, fields["shadow"][1], f"{path}.shadow")
        canary: CanaryEntry | None = None
        if "canary" in values:
            canary = read_canary(reader, fields["canary"][1], f"{path}.canary", guard)
        for check in guard.checks if guard is not None else ():
            if check.compared is Reference.CONTROL and "canary" not in fields:
                self._fault(
                    fields["guard"][1],
                    f"{path}.guard.checks.{check.kind}.reference",
                    "is control, and the workflow has no canary to compare with its target; state "
                    "a number",
                )
        if len(self._problems) > before:
            return None
        return Entry(
            workflow=name,
            target=refs["target"],
            fallback=refs["fallback"],
            description=values.get("description", ""),
            max_tokens=limit,
            default_max_tokens=default,
            temperature=values.get("temperature"),
            response_schema=values.get("response_schema"),
            guard=guard,
            shadow=shadow,
            on_error=on_error,
            canary=canary,
            places={
                field_name: Place(n.start_mark.line - key.start_mark.line, n.start_mark.column + 1)
                for field_name, n in [("", key), *((k, n) for k, (_, n) in fields.items())]
            },
        )

    def _mapping(
        self, node: yaml.MappingNode, path: str, known: tuple[str, ...] | None
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Keys with their nodes; unknown and repeated keys are problems."""
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            at = f"{path}.{name}" if path else name
            if known is not None and name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self._fault(key, at, f"is no setting here; {hint}")
            elif name in found:
                first = found[name][0].start_mark.line + 1
                self._fault(key, at, f"stands twice, first on line {first}")
            else:
                found[name] = (key, value)
        return found

    def _value(self, node: yaml.Node) -> Any:
        try:
            return yaml.constructor.SafeConstructor().construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, RecursionError):
            return None  # of a type that no setting has: its own fault is reported there

    def _fault(self, node: yaml.Node, path: str, message: str) -> None:
        place = _place(node)
        self._problems.append(Problem(message, path, self._file, place.line, place.column))


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
