"""The reference of the admin API, from the app's own OpenAPI description."""

from __future__ import annotations

import json
from typing import Any

from gateway.api.admin import create_admin_app
from gateway.api.callers import LiveKeys
from gateway.settings import Settings
from scripts.docs.markdown import code, sentence, table
from scripts.docs.parts import parts

_SCHEMA = "admin-openapi.json"


def description() -> dict[str, Any]:
    """The OpenAPI description that `/admin/v1/openapi.json` answers."""
    with parts() as made:
        app = create_admin_app(
            made.plane,
            made.registry,
            made.engine,
            LiveKeys(made.plane),
            body_limit_bytes=Settings().body_limit_bytes,
        )
        found: dict[str, Any] = app.openapi()
    return found


def openapi_json() -> str:
    """The description as the file beside the page."""
    return json.dumps(description(), indent=2, ensure_ascii=False) + "\n"


def page() -> str:
    """One row for each endpoint, and one table for each body."""
    found = description()
    rows = [
        (
            code(f"{method.upper()} {path}"),
            ", ".join(code(p["name"]) for p in operation.get("parameters", ())),
            _body(operation),
            sentence(operation.get("description") or operation.get("summary", "")),
        )
        for path, operations in found["paths"].items()
        for method, operation in operations.items()
    ]
    schemas = found["components"]["schemas"]
    named = {name for row in rows for name in [row[2].split("](")[0].lstrip("[`").rstrip("`")]}
    bodies = [_schema(name, schemas[name]) for name in sorted(named & schemas.keys())]
    return "\n".join(
        [
            "# The admin API\n",
            "At the admin port (`--admin-port`, 8001), on loopback. It describes itself at\n"
            f"`/admin/v1/openapi.json`; the same is in [{_SCHEMA}]({_SCHEMA}). An error is\n"
            '`{"error": {"message", "type", "param", "code"}}`; a rejected table also lists\n'
            "`problems` with file, line, column and field.\n",
            table(("request", "parameters", "body", "what it does"), rows),
            *bodies,
        ]
    )


def _body(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    reference: str = content.get("schema", {}).get("$ref", "")
    name = reference.rsplit("/", 1)[-1]
    return f"[`{name}`](#{name.lower()})" if name else ""


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            code(field),
            _kind(stated),
            "required" if field in required else code(_default(stated)),
            sentence(stated.get("description", "")),
        )
        for field, stated in schema.get("properties", {}).items()
    ]
    text = sentence(schema.get("description", ""))
    return f"## {name}\n\n{text}\n\n" + table(("field", "kind", "default", "what it is"), rows)


def _kind(stated: dict[str, Any]) -> str:
    options = [o for o in stated.get("anyOf", [stated]) if o.get("type") != "null"]
    return ", ".join(
        ", ".join(code(c) for c in option["enum"])
        if "enum" in option
        else str(option.get("type", "any"))
        for option in options
    )


def _default(stated: dict[str, Any]) -> str | None:
    value = stated.get("default")
    return None if value is None or value == "" else str(value)
