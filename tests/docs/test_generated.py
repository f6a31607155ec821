"""What the documentation says of the code is what the code says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.errors import TableRejected
from gateway.routesfile.parse import parse
from scripts.docs import pages
from scripts.docs.figures import ROOT
from scripts.docs.markdown import filled, table
from scripts.docs.routes_file import schema_json

PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
VALID = "version: 1\nworkflows:\n  w: {target: base}\n"


def test_the_committed_documentation_is_what_the_code_makes() -> None:
    stale = pages.stale()
    assert not stale, f"run `make docs`: {', '.join(stale)} say something else than the code"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            to = page.parent / path if path else page
            assert to.exists(), f"{page}: {target} leads nowhere"
            if anchor and to.suffix == ".md":
                assert anchor in anchors(to), f"{page}: {target} names no heading"


def anchors(page: Path) -> set[str]:
    """What links to headings of `page` are called."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_schema_of_routes_yaml_accepts_the_shipped_file() -> None:
    shipped = yaml.safe_load((ROOT / "routes.yaml").read_text())
    jsonschema.Draft202012Validator(json.loads(schema_json())).validate(shipped)


@pytest.mark.parametrize(
    "entry",
    [
        "{target: base, max_tokens: 1, default_max_tokens: 1, temperature: 2}",
        "{target: a@1, fallback: base, description: text, response_schema: {type: object}}",
        "{}",
        "{target: 3}",
        "{target: a@}",
        "{target: base, max_tokens: 0}",
        "{target: base, max_tokens: 1.5}",
        "{target: base, temperature: 2.5}",
        "{target: base, temperature: warm}",
        "{target: base, max_tokns: 3}",
        "{target: base, response_schema: text}",
    ],
)
def test_the_schema_of_routes_yaml_judges_as_the_parser_does(entry: str) -> None:
    text = VALID.replace("{target: base}", entry)
    try:
        parse(text, "routes.yaml")
        accepted = True
    except TableRejected:
        accepted = False
    schema: Any = jsonschema.Draft202012Validator(json.loads(schema_json()))
    assert schema.is_valid(yaml.safe_load(text)) is accepted


def test_a_marked_block_is_filled_and_the_rest_of_the_page_is_left() -> None:
    page = "before\n<!-- table: t -->\nold\n<!-- end -->\nafter\n"
    made = filled(page, {"t": lambda: table(("a",), [("x | y",)])}, "page.md")
    assert made == ("before\n<!-- table: t -->\n| a |\n| --- |\n| x \\| y |\n<!-- end -->\nafter\n")
    assert filled(made, {"t": lambda: table(("a",), [("x | y",)])}, "page.md") == made


def test_a_block_that_nothing_makes_is_an_error_with_the_page_and_its_name() -> None:
    with pytest.raises(ValueError, match=r"page.md: no table is called t; known are u"):
        filled("<!-- table: t -->\n<!-- end -->\n", {"u": str}, "page.md")
