"""An API's reference from its OpenAPI description: its endpoints, and the bodies they take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.docs.markdown import code, sentence, table

Description = Mapping[str, Any]


def as_json(found: Description) -> str:
    """The description as the file beside a page."""
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def endpoints(found: Description) -> str:
    """One row for each endpoint."""
    rows = [
        (
            code(f"{method.upper()} {path}"),
            ", ".join(code(p["name"]) for p in operation.get("parameters", ())),
            f"[`{body}`](#{body.lower()})" if (body := _body(operation)) else "",
            sentence(operation.get("description") or operation.get("summary", "")),
        )
        for path, method, operation in _operations(found)
    ]
    return table(("request", "parameters", "body", "what it does"), rows)


def bodies(found: Description) -> str:
    """One section for each body, and for what stands in it, with a row for each field."""
    schemas = found["components"]["schemas"]
    wanted = [body for *_, operation in _operations(found) if (body := _body(operation))]
    shown: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in shown:
            shown.add(name)
            for field in schemas[name].get("properties", {}).values():
                wanted += _references(field)
    return "\n".join(_section(name, schemas[name]) for name in sorted(shown))


def _operations(found: Description) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _body(operation: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return _name(content.get("schema", {}).get("$ref", ""))


def _section(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            code(field),
            _kind(stated),
            "required" if field in required else code(_default(stated)),
            _limits(stated),
            sentence(stated.get("description", "")),
        )
        for field, stated in schema.get("properties", {}).items()
    ]
    text = sentence(schema.get("description", ""))
    head = ("field", "kind", "default", "limits", "what it is")
    return "\n\n".join(part for part in (f"## {name}", text, table(head, rows)) if part)


def _options(stated: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The kinds a field may have; null, which is to leave it out, is none."""
    return [
        option
        for option in stated.get("anyOf") or stated.get("oneOf") or [stated]
        if option.get("type") != "null"
    ]


def _kind(stated: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(_one_kind(option) for option in _options(stated)))


def _one_kind(option: Mapping[str, Any]) -> str:
    if "enum" in option:
        return ", ".join(code(choice) for choice in option["enum"])
    if "const" in option:
        return code(json.dumps(option["const"]).strip('"'))
    if "$ref" in option:
        name = _name(option["$ref"])
        return f"[`{name}`](#{name.lower()})"
    if option.get("type") == "array":
        return f"list of {_kind(option.get('items', {}))}"
    return str(option.get("type", "any"))


def _limits(stated: Mapping[str, Any]) -> str:
    pairs = (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    )
    said = []
    for option in _options(stated):
        said += [f"over {option['exclusiveMinimum']:g}"] if "exclusiveMinimum" in option else []
        said += [f"under {option['exclusiveMaximum']:g}"] if "exclusiveMaximum" in option else []
        said += [
            _range(option.get(low), option.get(high)) + unit
            for low, high, unit in pairs
            if low in option or high in option
        ]
    return ", ".join(said)


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at most {high:g}" if low is None else f"at least {low:g}"


def _default(stated: Mapping[str, Any]) -> str | None:
    value = stated.get("default")
    return None if value in (None, "") else json.dumps(value).strip('"')


def _references(stated: Mapping[str, Any]) -> list[str]:
    """The schemas that a field's kinds name."""
    found = []
    for option in _options(stated):
        if "$ref" in option:
            found.append(_name(option["$ref"]))
        found += _references(option["items"]) if "items" in option else []
    return found


def _name(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]
