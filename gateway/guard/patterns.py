"""Regular expressions with a time limit.

A pattern can take exponential time on a text that nearly matches, and the text is a model's. Here
each look ends after `LIMIT_S`, and lets other threads run meanwhile. Patterns are Python's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import regex
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for

LIMIT_S = 0.1  # of the whole process, as the library counts it

PatternError = regex.error


def compiled(pattern: str) -> regex.Pattern[str]:
    """The pattern, for whole answers. Raises PatternError where it is none."""
    return regex.compile(pattern, regex.DOTALL | regex.VERSION0)


def matches_whole(pattern: regex.Pattern[str], text: str) -> bool:
    """Raises TimeoutError where it takes longer than the limit to find out."""
    return pattern.fullmatch(text, timeout=LIMIT_S, concurrent=True) is not None


def bounded_validator(schema: Mapping[str, Any]) -> Validator:
    """A validator of `schema` whose patterns have the limit: it raises TimeoutError past it."""
    untyped: Any = extend
    made: Validator = untyped(
        validator_for(schema),
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
        },
    )(schema)
    return made


def _found(pattern: str, text: str) -> bool:
    where = regex.compile(pattern, regex.VERSION0)  # it keeps what it has compiled
    return where.search(text, timeout=LIMIT_S, concurrent=True) is not None


def _pattern(validator: Any, stated: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "string") and not _found(stated, value):
        yield ValidationError(f"does not match {stated!r}")


def _pattern_properties(
    validator: Any, stated: Mapping[str, Any], value: Any, schema: Any
) -> Iterator[ValidationError]:
    if validator.is_type(value, "object"):
        for pattern, inner in stated.items():
            for name, each in value.items():
                if _found(pattern, name):
                    yield from validator.descend(each, inner, path=name)


def _additional_properties(
    validator: Any, stated: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if validator.is_type(value, "object"):
        patterns = schema.get("patternProperties", {})
        for name, each in value.items():
            known = name in schema.get("properties", {})
            if not known and not any(_found(pattern, name) for pattern in patterns):
                yield from validator.descend(each, stated, path=name)
