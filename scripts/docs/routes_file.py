"""The reference of routes.yaml and its JSON schema, from the parser's own keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gateway.guard.values import CheckKind, OnTrip
from gateway.routesfile.canary_keys import CANARY, LEAST_SHARE, MOST_STEPS
from gateway.routesfile.guard_keys import COMMON, GUARD, MEANINGS, OWN, keys_of
from gateway.routesfile.keys import ENTRY, TOP, VERSION, Key
from gateway.routesfile.shadow import SHADOW
from gateway.routing.table import BASE, NAME_PATTERN, VERSION_PATTERN, ErrorClass
from scripts.docs.markdown import code, sentence, table

_SCHEMA = "routes.schema.json"
_TARGET = rf"^({BASE}|{NAME_PATTERN}@{VERSION_PATTERN})$"
_SHARE = {
    "type": ["number", "string"],
    "minimum": LEAST_SHARE,
    "maximum": 100,
    "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$",
}
_TYPES = {
    "text": "string",
    "whole number": "integer",
    "number": "number",
    "mapping": "object",
    "list": "array",
    "truth value": "boolean",
}


def schema_json() -> str:
    """A JSON schema for editors. The gateway checks more: that adapters exist, are approved and
    fit the base model."""
    entry = _object(ENTRY)
    guard = _object(GUARD)
    guard["properties"]["checks"] |= {
        "minProperties": 1,
        "properties": {
            kind.value: {
                **_object(keys_of(kind)),
                "type": "object" if _needs_a_key(kind) else ["object", "null"],
                "description": sentence(MEANINGS[kind]),
            }
            for kind in CheckKind
        },
        "additionalProperties": False,
    }
    entry["properties"]["guard"] |= guard
    entry["properties"]["shadow"] |= _object(SHADOW)
    canary = _object(CANARY)
    canary["properties"]["adapter"]["pattern"] = rf"^{NAME_PATTERN}@{VERSION_PATTERN}$"
    canary["properties"]["share"] |= _SHARE
    canary["properties"]["steps"] |= {"items": _SHARE, "minItems": 1, "maxItems": MOST_STEPS}
    canary["properties"]["hold"]["pattern"] = r"^[0-9]+(\.[0-9]+)?[smhd]$"
    entry["properties"]["canary"] |= canary
    top = {key.name: _property(key) for key in TOP}
    top["version"] = {"const": VERSION, "description": top["version"]["description"]}
    top["workflows"] |= {
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$", "not": {"const": BASE}},
        "additionalProperties": entry,
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "routes.yaml",
        "description": "The routing table: which workflow is answered by what.",
        "type": "object",
        "properties": top,
        "required": [key.name for key in TOP if key.required],
        "additionalProperties": False,
    }
    return json.dumps(schema, indent=2) + "\n"


def page() -> str:
    """The format, its keys, their limits and defaults."""
    return "\n".join(
        [
            "# routes.yaml\n",
            "The routing table: which workflow is answered by what. A client names the workflow\n"
            "as `model`. The workflow `base` is always there and goes to the base model.\n",
            "A running gateway takes in a saved edit by itself. The file is checked whole; a\n"
            "fault in one route changes nothing, and `gateway status` says what is wrong, with\n"
            "line, column and field. `gateway apply FILE --dry-run` checks a file and applies\n"
            "nothing. Unknown keys and keys that stand twice are faults.\n",
            "Editors that know JSON Schema can check the form with\n"
            f"[{_SCHEMA}]({_SCHEMA}): put `# yaml-language-server: $schema=` and the path to it\n"
            "in the file's first line.\n",
            "## The file\n",
            _keys(TOP),
            "Names of workflows are lower-case letters, digits, `.`, `_` and `-`, at most 64\n"
            "characters, and begin and end with a letter or digit.\n",
            "## A workflow\n",
            _keys(ENTRY),
            "## A shadow\n",
            "What `shadow` holds. What is compared and what it costs is in\n"
            "[guard.md](../guard.md#shadows).\n",
            _keys(SHADOW),
            "## A guard\n",
            "What `guard` holds. How it decides, how to set it and what to do at a trip is in\n"
            "[guard.md](../guard.md).\n",
            _keys(GUARD),
            "## A canary\n",
            "What `canary` holds. Who is given to it, how it grows and how it is taken back is in\n"
            "[canary.md](../canary.md).\n",
            _keys(CANARY),
            "## Checks\n",
            "`checks` maps kinds to settings; a kind alone (`empty:`) takes the defaults.\n",
            table(("check", "what is bad"), [(code(k), sentence(MEANINGS[k])) for k in CheckKind]),
            "Every check may have:\n",
            _keys(COMMON),
            "Some have settings of their own:\n",
            table(
                ("check", "key", "kind", "default", "limits", "what it is"),
                [(code(kind), *row) for kind, keys in OWN.items() for row in _rows(keys)],
            ),
        ]
    )


def _keys(keys: Sequence[Key]) -> str:
    return table(("key", "kind", "default", "limits", "what it is"), _rows(keys))


def _rows(keys: Sequence[Key]) -> list[tuple[str, ...]]:
    return [
        (
            code(key.name),
            key.kind,
            "required" if key.required else key.default,
            key.limits,
            sentence(key.meaning),
        )
        for key in keys
    ]


def _object(keys: Sequence[Key]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key.name: _property(key) for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def _needs_a_key(kind: CheckKind) -> bool:
    return any(key.required for key in keys_of(kind))


def _property(key: Key) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _TYPES[key.plain_kind], "description": sentence(key.meaning)}
    if key.minimum is not None:
        found["minimum"] = key.minimum
    if key.maximum is not None:
        found["maximum"] = key.maximum
    if key.name in ("labels", "scripts"):
        found |= {"items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
    if key.name == "on_error":
        found |= {"items": {"enum": list(ErrorClass)}, "minItems": 1, "uniqueItems": True}
    if key.name == "on_trip":
        found["enum"] = [action.value for action in OnTrip]
    if key.name in ("target", "fallback"):
        found["pattern"] = _TARGET
    if key.name == "share":
        found["pattern"] = r"^\s*[0-9]{1,3}(\.[0-9]{1,4})?\s*%\s*$"
    if key.words:
        description = found.pop("description")
        found = {"description": description, "anyOf": [found, {"enum": list(key.words)}]}
    return found
