"""Two answers to one request, side by side: do they say the same? Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from gateway.guard.values import CheckKind
from gateway.routing.table import Route


class Form(StrEnum):
    """What a route's answers are, and so what it means that two agree."""

    TEXT = "text"  # the same text, outer white space aside
    LABEL = "label"  # the same label, its case and what stands around it aside
    JSON = "json"  # the share of fields, by path and value, that both have


def form_of(route: Route) -> Form:
    """The form of a route's answers, by its schema and its guard."""
    kinds = {check.kind for check in route.guard.checks} if route.guard else set[CheckKind]()
    if route.response_schema is not None or CheckKind.SCHEMA in kinds:
        return Form.JSON
    return Form.LABEL if kinds & {CheckKind.LABELS, CheckKind.COLLAPSE} else Form.TEXT


def agreement(one: str, other: str, form: Form) -> float:
    """How far two answers agree, from 0 to 1.

    For JSON it is F1 over fields, a field being a path and its value: twice those that both have,
    over those of both. What is no JSON agrees with the same text alone.
    """
    if one.strip() == other.strip():
        return 1.0
    match form:
        case Form.TEXT:
            return 0.0
        case Form.LABEL:
            return float(_label(one) == _label(other) != "")
        case Form.JSON:
            return _fields_in_common(one, other)


def _label(text: str) -> str:
    return text.strip(" \t\n\r.,;:!?\"'`*()[]").casefold()


def _fields_in_common(one: str, other: str) -> float:
    try:
        fields = [set(_fields(json.loads(text), "$")) for text in (one, other)]
    except (ValueError, RecursionError):
        return 0.0
    return 2 * len(fields[0] & fields[1]) / (len(fields[0]) + len(fields[1]))


def _fields(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The leaves of a JSON value with their paths; an empty container is one. Never empty."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _fields(inner, f"{path}.{json.dumps(key)}")
    elif isinstance(value, list) and value:
        for at, inner in enumerate(value):
            yield from _fields(inner, f"{path}[{at}]")
    else:
        yield path, json.dumps(value)
