"""docs/recipes.md knows every setting that a recipe has."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from scripts.docs.figures import ROOT
from trainer.recipe import AnchorPart, Recipe


def settings(kind: type[BaseModel]) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings(field.annotation)


def test_every_setting_of_a_recipe_is_on_the_page() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    words = set(page.replace("`", " ").replace(",", " ").replace(".", " ").split())
    assert {*settings(Recipe), *AnchorPart.model_fields} <= words
