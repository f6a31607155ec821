"""The keys of routes.yaml: kind, limits and meaning. The parser obeys them, the reference and the
JSON schema are made from them; a guard's own are in guard_keys.py. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERSION = 1


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `kinds` are the types a value may have, the first names it in messages."""

    name: str
    kinds: tuple[type, ...]
    meaning: str
    default: str = ""  # what holds where it is left out, in words
    required: bool = False
    minimum: float | None = None  # inclusive
    maximum: float | None = None
    words: tuple[str, ...] = ()  # that it may be instead of a value of its kind

    @property
    def kind(self) -> str:
        """How messages and the reference call its values."""
        return " or ".join((self.plain_kind, *self.words))

    @property
    def plain_kind(self) -> str:
        """The same, words aside."""
        return "number" if float in self.kinds else _KIND_NAMES[self.kinds[0]]

    @property
    def limits(self) -> str:
        """The range of its values in words; empty where there is none."""
        if self.minimum is None:
            return ""
        if self.maximum is None:
            return f"{self.minimum} or more"
        return f"from {self.minimum} to {self.maximum}"

    def is_kind_of(self, value: Any) -> bool:
        """Whether `value` is of the right kind; `true` is no number."""
        if isinstance(value, str) and value in self.words:
            return True
        return isinstance(value, self.kinds) and isinstance(value, bool) == (bool in self.kinds)

    def allows(self, value: Any) -> bool:
        """Whether `value`, which is of the right kind, is within the limits."""
        if isinstance(value, str):
            return True
        return (self.minimum is None or value >= self.minimum) and (
            self.maximum is None or value <= self.maximum
        )


_KIND_NAMES: Mapping[type, str] = {
    str: "text",
    int: "whole number",
    dict: "mapping",
    list: "list",
    bool: "truth value",
}

TOP = (
    Key("version", (int,), "the format's version; 1 is the only one there is", required=True),
    Key("workflows", (dict,), "workflow names and their routes, at least one", required=True),
)
ENTRY = (
    Key(
        "target",
        (str,),
        "what answers: an approved adapter as name@version, or base",
        required=True,
    ),
    Key(
        "fallback",
        (str,),
        "what answers while the workflow is disabled, or its adapter revoked; as target",
        default="base",
    ),
    Key(
        "on_error",
        (list,),
        "which errors, before the first token, send a request on to the fallback and then to base: "
        "engine (it failed or cannot be asked), overload (it takes no more at present)",
        default="none: the client gets the error",
    ),
    Key("description", (str,), "what the workflow is for; shown to operators"),
    Key(
        "max_tokens",
        (int,),
        "the most new tokens a client may ask for",
        default="no limit but the context's",
        minimum=1,
    ),
    Key(
        "default_max_tokens",
        (int,),
        "new tokens where the client asks for no number; not over max_tokens",
        default="max_tokens, else 256",
        minimum=1,
    ),
    Key(
        "temperature",
        (int, float),
        "the temperature where the client names none; 0 is greedy",
        default="1",
        minimum=0,
        maximum=2,
    ),
    Key(
        "response_schema",
        (dict,),
        "a JSON schema that answers are held to, the fallback's too; a client's own "
        "response_format goes before it",
        default="none: any text",
    ),
    Key(
        "shadow",
        (dict,),
        "what a share of the requests is asked a second time, to compare the answers",
        default="no shadow",
    ),
    Key("guard", (dict,), "what is watched, and what is done at a regression", default="no watch"),
    Key(
        "canary",
        (dict,),
        "a second adapter that answers a share of the requests, and how it grows",
        default="none",
    ),
)
BY_NAME: Mapping[str, Key] = {key.name: key for key in ENTRY}
