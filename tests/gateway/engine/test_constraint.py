"""Whatever the schema, what a constrained row finishes is JSON of that schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.base import SamplingParams
from gateway.engine.embedded.constraint import ConstraintFactory
from gateway.engine.embedded.sampling import RowSampler
from gateway.errors import BadInput
from tests.tiny import make_tokenizer

_NAMES = st.sampled_from(["ok", "name", "n", "日"])
_LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from([{"type": kind} for kind in ("boolean", "null")]),
    st.sampled_from(
        [
            {"type": "integer", "minimum": -9, "maximum": 99},
            {"type": "string", "maxLength": 5},
            {"type": ["string", "null"], "maxLength": 3},
        ]
    ),
    st.lists(st.sampled_from(["red", "blue", 3, None]), min_size=1, max_size=3, unique=True).map(
        lambda values: {"enum": values}
    ),
)


def _objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def made(properties: dict[str, Any], required: set[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(required & properties.keys()),
            "additionalProperties": False,
        }

    return st.builds(made, st.dictionaries(_NAMES, inner, max_size=3), st.sets(_NAMES))


def _arrays(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return inner.map(lambda items: {"type": "array", "items": items, "maxItems": 2})


schemas = st.recursive(_LEAVES, lambda inner: _objects(inner) | _arrays(inner), max_leaves=5)


@cache
def parts() -> tuple[Any, ConstraintFactory]:
    tokenizer = make_tokenizer()
    return tokenizer, ConstraintFactory(tokenizer, len(tokenizer))


def generate(schema: dict[str, Any] | None, seed: int, limit: int) -> str | None:
    """What a model of random logits says under `schema`; None where it does not come to an end."""
    tokenizer, factory = parts()
    constraint = factory.compile(schema).start()
    row = RowSampler(SamplingParams(max_tokens=limit, seed=seed), constraint=constraint)
    random = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    for _ in range(limit):
        token = row.choose(torch.randn(len(tokenizer), generator=random)).token_id
        if token == tokenizer.eos_token_id:
            text: str = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
            return text
        ids.append(token)
    return None


@settings(max_examples=60, deadline=None)
@given(schemas, st.integers(0, 2**20))
def test_every_finished_answer_parses_and_is_valid(schema: dict[str, Any], seed: int) -> None:
    text = generate(schema, seed, 200)
    if text is not None:
        jsonschema.validate(json.loads(text), schema)


def test_a_bounded_schema_always_comes_to_an_end() -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "maximum": 9}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    assert all(generate(schema, seed, 400) is not None for seed in range(5))


def test_any_object_is_an_object() -> None:
    finished = [text for seed in range(8) if (text := generate(None, seed, 400)) is not None]
    assert all(isinstance(json.loads(text), dict) for text in finished)


@pytest.mark.parametrize("schema", [{"type": "x"}, {"$ref": "#/nowhere"}, {"type": 3}])
def test_a_schema_that_cannot_be_compiled_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="JSON schema"):
        parts()[1].compile(schema)
