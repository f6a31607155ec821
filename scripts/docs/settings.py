"""The reference of the gateway's settings, from `Settings`."""

from __future__ import annotations

import json

from pydantic import SecretStr

from gateway.cli.flags import flags
from gateway.settings import PREFIX, Settings
from scripts.docs.markdown import code, sentence, table


def page() -> str:
    """One row for each setting: its names, default, limits, and what it is."""
    schema = Settings.model_json_schema()
    with_flag = flags()
    rows = []
    for name, field in Settings.model_fields.items():
        rows.append(
            (
                code(name),
                code(f"--{name.replace('_', '-')}") if name in with_flag else "",
                code(PREFIX + name.upper()),
                _default(field.default),
                _limits(schema["properties"][name]),
                sentence(field.description or ""),
            )
        )
    return (
        "# Settings\n\n"
        "Each setting may stand in `gateway.toml` (or the file that `--config` names), in the\n"
        "environment, and as a flag of `gateway serve`. The environment wins over the file, a\n"
        "flag over both. `gateway config` prints what is in force. An unknown key in the file is\n"
        "an error; `gateway serve` then ends with exit code 2 and names it.\n\n"
        + table(("setting", "flag", "environment", "default", "limits", "what it is"), rows)
    )


def _default(value: object) -> str:
    """As it is written; nothing for what is empty."""
    if value is None or value == () or isinstance(value, SecretStr):
        return ""
    return code(value)


def _limits(stated: dict[str, object]) -> str:
    """The limits as the schema states them."""
    if "enum" in stated:
        choices = stated["enum"]
        assert isinstance(choices, list)
        return ", ".join(code(choice) for choice in choices)
    low, high = stated.get("minimum"), stated.get("maximum")
    if low is not None and high is not None:
        return f"{json.dumps(low)} to {json.dumps(high)}"
    if low is not None:
        return f"{json.dumps(low)} or more"
    return "" if high is None else f"{json.dumps(high)} or less"
