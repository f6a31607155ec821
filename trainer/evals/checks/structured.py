"""Checks of answers that should be JSON: valid under a schema, and right field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field, field_validator

from trainer.evals.checks.base import ItemCheck, Need, Observation, asks_something
from trainer.evals.values import Item


class NotJson(ValueError):
    """An answer that is not one JSON document."""


def parsed(answer: str) -> Any:
    """The JSON document that `answer` is. Raises NotJson, also for NaN and Infinity."""

    def refuse(constant: str) -> Any:
        raise NotJson(f"{constant} is not JSON")

    try:
        return json.loads(answer, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from None


class JsonValid(ItemCheck):
    """The answer is JSON and, where a schema is given, valid under it."""

    name: ClassVar[str] = "json_valid"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ANSWER})
    binary: ClassVar[bool] = True
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")

    @field_validator("schema_")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            Draft202012Validator.check_schema(schema if schema is not None else {})
        except SchemaError as error:
            raise ValueError(f"not a JSON schema: {error.message}") from None
        return schema

    def score(self, seen: Observation) -> float:
        try:
            document = parsed(seen.said)
        except NotJson:
            return 0.0
        return float(self.schema_ is None or Draft202012Validator(self.schema_).is_valid(document))


class JsonFields(ItemCheck):
    """F1 over the answer's fields: a field is its path and value; both must be right.

    F1 = 2 right / (fields in the answer + fields expected); 0 for what is not JSON.
    """

    name: ClassVar[str] = "json_fields"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ANSWER})

    def fault(self, item: Item) -> str | None:
        if not isinstance(item.expected, dict) or not item.expected:
            return "expected must be an object with at least one field"
        return asks_something(item)

    def score(self, seen: Observation) -> float:
        expected, said = _fields(seen.item.expected), _said(seen)
        if not expected and not said:
            return 1.0
        return 2 * len(expected & said) / (len(expected) + len(said))

    def figures(self, seen: Sequence[Observation]) -> Mapping[str, Any]:
        """Share of answers right in every field, and of each top-level field."""
        right: dict[str, list[bool]] = {}
        whole = 0
        for each in seen:
            try:
                document = parsed(each.said)
            except NotJson:
                document = None
            whole += _fields(document) == _fields(each.item.expected)
            answered = document if isinstance(document, dict) else {}
            for key, value in each.item.expected.items():
                same = key in answered and _fields(answered[key]) == _fields(value)
                right.setdefault(key, []).append(same)
        return {
            "all_fields_right": whole / len(seen),
            "field_right": {key: sum(all_) / len(all_) for key, all_ in right.items()},
        }


def _said(seen: Observation) -> frozenset[tuple[str, str]]:
    try:
        document = parsed(seen.said)
    except NotJson:
        return frozenset()
    return _fields(document) if isinstance(document, dict) else frozenset()


def _fields(document: Any) -> frozenset[tuple[str, str]]:
    return frozenset(_leaves(document, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and canonical JSON of each leaf; an empty object or list is a leaf."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}/{key}")
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{path}/{i}")
    else:
        yield path, json.dumps(value, sort_keys=True)
