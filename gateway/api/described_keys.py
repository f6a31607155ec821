"""Keys in the OpenAPI descriptions: clients made from them must know to send one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

_SCHEME = "key"


def describe_keys(app: FastAPI, needs_key: Callable[[str], bool], kind: str) -> None:
    """Have the description of `app` say which paths take a key, and of which `kind`. It is the
    gates that ask for one."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        found = generate()
        schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[_SCHEME] = {
            "type": "http",
            "scheme": "bearer",
            "description": f"{kind}, made with `gateway keys create`. Until the first such key "
            "is made, none is asked for, unless the address is not loopback.",
        }
        for path, operations in found["paths"].items():
            if needs_key(path):
                for operation in operations.values():
                    operation["security"] = [{_SCHEME: []}, {}]
        return found

    app.openapi = openapi  # type: ignore[method-assign]
