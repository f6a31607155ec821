"""Recipe files: read strictly, with the line of every fault; written with every default."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from trainer.errors import RecipeError
from trainer.recipe import Part, Recipe
from trainer.whole_files import write_text
from trainer.yaml_places import nearest_line, places, repeated

DEFAULT_GUARDRAILS = "default"


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`, its paths made absolute from the recipe's folder. Raises RecipeError
    with the field, the line, and for an unknown key the nearest known one."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"{path} is not YAML: {error}") from None
    if not isinstance(settings, dict):
        raise RecipeError(f"{path} is not a mapping of settings")
    twice = repeated(root)
    if twice is not None:
        raise RecipeError(f"stands twice ({path}:{twice[1]})", field=_dotted(twice[0]))
    try:
        recipe = Recipe.model_validate(settings)
    except ValidationError as error:
        raise _explained(error, path, nearest_line_of=places(root)) from None
    return _with_paths(recipe, lambda found: (path.parent / found).resolve())


def write_resolved(recipe: Recipe, path: Path) -> None:
    """Write `recipe` with every default spelt out and paths relative to `path`'s folder, so that
    `read_recipe(path)` gives the same recipe back."""
    folder = path.parent.resolve()
    relative = _with_paths(recipe, lambda found: Path(os.path.relpath(found, folder)))
    settings = relative.model_dump(mode="json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100))


def check_files(recipe: Recipe) -> None:
    """Raise RecipeError, naming the field, where a part or suite is missing or empty."""
    for field, part in parts(recipe):
        if not part.path.is_file():
            raise RecipeError(
                f"{part.path} does not exist; paths are relative to the recipe",
                field=f"{field}.path",
            )
        with part.path.open("rb") as file:
            if not any(line.strip() for line in file):
                raise RecipeError(f"{part.path} is empty; give it rows", field=f"{field}.path")
    if recipe.data.anchors.share > 0 and not recipe.data.anchors.parts:
        raise RecipeError(
            f"share is {recipe.data.anchors.share}, but there are no anchors; list parts, or set "
            "share to 0",
            field="data.anchors.parts",
        )
    suites = [("suites.target", recipe.suites.target)]
    suites += [
        (f"suites.guardrails.{i}", Path(name))
        for i, name in enumerate(recipe.suites.guardrails)
        if name != DEFAULT_GUARDRAILS
    ]
    for field, folder in suites:
        if not (folder / "suite.yaml").is_file() and not any(folder.glob("*/suite.yaml")):
            raise RecipeError(f"{folder} holds no suite.yaml", field=field)


def parts(recipe: Recipe) -> Iterator[tuple[str, Part]]:
    """Every data part with the path of its field."""
    for i, target in enumerate(recipe.data.target):
        yield f"data.target.{i}", target
    for i, anchor in enumerate(recipe.data.anchors.parts):
        yield f"data.anchors.parts.{i}", anchor


def _with_paths(recipe: Recipe, change: Callable[[Path], Path]) -> Recipe:
    data, suites = recipe.data, recipe.suites
    anchors = tuple(p.model_copy(update={"path": change(p.path)}) for p in data.anchors.parts)
    model = recipe.model
    if model is not None and (model.startswith((".", "~")) or Path(model).is_absolute()):
        model = str(change(Path(model).expanduser()))
        model = model if model.startswith(("/", ".")) else f"./{model}"
    return recipe.model_copy(
        update={
            "model": model,
            "data": data.model_copy(
                update={
                    "target": tuple(
                        p.model_copy(update={"path": change(p.path)}) for p in data.target
                    ),
                    "anchors": data.anchors.model_copy(update={"parts": anchors}),
                }
            ),
            "suites": suites.model_copy(
                update={
                    "target": change(suites.target),
                    "guardrails": tuple(
                        name if name == DEFAULT_GUARDRAILS else str(change(Path(name)))
                        for name in suites.guardrails
                    ),
                }
            ),
        }
    )


def _explained(error: ValidationError, path: Path, *, nearest_line_of: Any) -> RecipeError:
    """The first fault, an unknown key before what may follow from it."""
    faults = error.errors()
    first = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    location = first["loc"]
    line = nearest_line(nearest_line_of, location)
    place = f"{path}:{line}" if line else str(path)
    field = _dotted(location)
    if first["type"] == "extra_forbidden":
        known = _settings_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return RecipeError(f"is no setting here; {hint} ({place})", field=field)
    if first["type"] == "missing":
        return RecipeError(f"is missing ({place})", field=field)
    if field == "suites.guardrails" and first["type"] == "too_short":
        return RecipeError(
            "a target suite needs a guardrail suite beside it, or nothing says what the adapter "
            f"broke; name one, or leave the setting out for the shipped set ({place})",
            field=field,
        )
    return RecipeError(f"{first['msg'][0].lower()}{first['msg'][1:]} ({place})", field=field)


def _settings_at(location: tuple[str | int, ...]) -> list[str]:
    """The names of the settings that the mapping at `location` may hold."""
    model: type[BaseModel] = Recipe
    for name in location:
        if isinstance(name, str):
            inner = _model_in(model.model_fields[name].annotation)
            if inner is None:
                return []
            model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model class in an annotation such as `Data` or `tuple[Part, ...]`."""
    for found in (annotation, *get_args(annotation)):
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None


def _dotted(location: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in location)
