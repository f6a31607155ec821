"""Nesting in routes.yaml is bounded, and told by its place."""

from __future__ import annotations

import pytest

from gateway.errors import TableRejected
from gateway.routesfile.document import DEEPEST
from gateway.routesfile.parse import parse

HEAD = "version: 1\nworkflows:\n  w:\n    target: base\n    response_schema: "
AROUND = 3  # the document, the workflows and the one


def nested(count: int) -> str:
    return "{a: " * count + "1" + "}" * count + "\n"


def test_a_schema_may_be_deep() -> None:
    found = parse(HEAD + nested(DEEPEST - AROUND), "routes.yaml")
    assert found.entries[0].response_schema is not None


@pytest.mark.parametrize("count", [DEEPEST - AROUND + 1, 5_000])
def test_what_is_deeper_is_refused_with_its_place(count: int) -> None:
    with pytest.raises(TableRejected) as caught:
        parse(HEAD + nested(count), "routes.yaml")
    (problem,) = caught.value.problems
    assert f"more than {DEEPEST} deep" in problem.message
    assert (problem.line, problem.column) == (5, 22 + 4 * (DEEPEST - AROUND))


def test_brackets_without_end_cost_no_more_than_the_bound() -> None:
    with pytest.raises(TableRejected, match=f"more than {DEEPEST} deep"):
        parse("[" * 100_000, "routes.yaml")
