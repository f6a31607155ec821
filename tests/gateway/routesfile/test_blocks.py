"""An edited text says the same whether it is parsed whole or from what the last one held."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import TableRejected
from gateway.routesfile import blocks
from gateway.routesfile.blocks import Blocks, parse_known
from gateway.routesfile.parse import Entry, parse

HEADS = [
    "version: 1\nworkflows:\n",
    "# routes\nversion: 1\n\nworkflows: # all\n\n",
    "workflows:\n",  # no version
    'version: 1\n"workflows":\n',
]
BLOCKS = [
    "  w{n}: {{target: a@{n}}}\n",
    "  w{n}:\n    target: base\n    max_tokens: 4\n",
    "  w{n}:\n    target: base\n\n  # about the next one\n# and this\n",
    "  w{n}:\n    target: base\n    description: |\n      one\n\n      two\n",
    "  w{n}:\n    target: base\n    description: |+\n      one\n\n\n",
    '  w{n}:\n    target: base\n    description: "one\n  w9: {{target: base}}\n  two"\n',
    "  w{n}:\n    target: base\n    description: one\n      & two\n",
    "  w{n}: {{target: base,\n  fallback: base}}\n",
    "  w{n}: &x {{target: base}}\n",
    "  w{n}: *x\n",
    "  'w{n}': {{target: base}}\r\n",
    "  w{n}: {{target: base, response_schema: {{b: 1, a: [1, {{c: 2}}]}}}}\n",
    "  ? w{n}\n  : {{target: base}}\n",
    "  !!str w{n}: {{target: base}}\n",
    # And with a fault.
    "  w{n}: {{target: base\n",
    '  w{n}: {{target: "base}}\n',
    "  w{n}: {{targat: base}}\n",
    "  w{n}:\n",
    "  w{n}: {{target: base, max_tokens: 0}}\n",
    "   w{n}: {{target: base}}\n",
    "w{n}: {{target: base}}\n",
    "  - w{n}\n",
    "...\n",
    "---\n",
    "\t\n",
    "  W {n}: {{target: base}}\x85",
    "  w{n}: {{target: base}}",
]
well_formed = st.sampled_from(BLOCKS[:2])
rows = st.tuples(st.one_of(well_formed, st.sampled_from(BLOCKS)), st.integers(0, 5))
texts = st.lists(rows, min_size=1, max_size=6)


def text_of(head: str, rows: list[tuple[str, int]], tail: str = "") -> str:
    return head + "".join(block.format(n=n) for block, n in rows) + tail


def said(text: str, known: Blocks | None) -> tuple[Any, Blocks | None]:
    """Everything a text says, with the place of each field, or all that is wrong with it."""
    try:
        if known is None:
            found, after = parse(text, "f"), None
        else:
            found, after = parse_known(text, "f", known)
    except TableRejected as error:
        return error.problems, None
    places = [(e, name, found.place(e, name)) for e in found.entries for name in sorted(e.places)]
    schemas = [repr(e.response_schema) for e in found.entries]  # with the order of their keys
    return (found.entries, places, schemas), after


@settings(deadline=None)
@given(
    st.sampled_from(HEADS),
    st.lists(
        st.tuples(well_formed, st.integers(0, 9)), min_size=3, max_size=8, unique_by=lambda r: r[1]
    ),
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from("+-="), rows), max_size=3),
    st.sampled_from(["", "  # end\n", "other: 1\n", "version: 1\n", "\n\n"]),
)
def test_an_edited_text_parsed_from_blocks_is_the_text_parsed_whole(
    head: str,
    before: list[tuple[str, int]],
    edits: list[tuple[int, str, tuple[str, int]]],
    tail: str,
) -> None:
    try:
        _, known = parse_known(text_of(head, before), "f", None)
    except TableRejected:
        known = None
    after = list(before)
    for place, how, row in edits:
        at = place % len(after)
        after[at : at + (how != "+")] = [] if how == "-" and len(after) > 1 else [row]
    text = text_of(head, after, tail)
    if known is not None:
        whole, _ = said(text, None)
        found, again = said(text, known)
        assert found == whole
        # And what it leaves for the next edit is as good.
        if again is not None:
            assert said(text_of(head, before), again)[0] == said(text_of(head, before), None)[0]


@settings(deadline=None)
@given(st.sampled_from(HEADS), texts, texts, st.sampled_from(["", "x: 1\n", "version: 1\n"]))
def test_blocks_of_any_text_serve_for_any_other(
    head: str, one: list[tuple[str, int]], other: list[tuple[str, int]], tail: str
) -> None:
    try:
        _, known = parse_known(text_of(head, one, tail), "f", None)
    except TableRejected:
        return
    if known is not None:
        for text in (text_of(head, one + other), text_of(head, other + one, tail)):
            assert said(text, known)[0] == said(text, None)[0]


def test_an_edit_reads_the_changed_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(BLOCKS[n % 2], n) for n in range(20)]
    _, known = parse_known(text_of(HEADS[0], rows), "f", None)
    assert known is not None
    read: list[str] = []
    real = blocks._entry

    def reading(block: str, file: str, indent: int) -> Entry | None:
        read.append(block)
        return real(block, file, indent)

    monkeypatch.setattr(blocks, "_entry", reading)
    monkeypatch.setattr(blocks, "parse_with_nodes", None)  # not parsed whole
    rows[7] = (BLOCKS[0], 70)
    found, _ = parse_known(text_of(HEADS[0], rows), "f", known)
    assert read == ["  w70: {target: a@70}\n"]
    assert len(found.entries) == 20
