"""A suite on disk: a folder with `suite.yaml` and its items as JSON lines, read strictly.

Everything that can be wrong is said here, with file, line and key, before a model is loaded.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import SuiteError
from trainer.evals.checks import CHECKS
from trainer.evals.checks.base import Check
from trainer.evals.values import Item, Measure, Split, SuiteKind

GUARDRAILS = Path(__file__).parent.parent / "guardrails"
DEFAULT = "default"  # the name of the shipped set
_FILE = "suite.yaml"
_SELECT_OF = 3  # one item in so many is in the select part

M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Generation(_Strict):
    """How a suite's answers are made."""

    max_tokens: int = Field(default=48, ge=1, le=2048)
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = 1  # of sampling, where temperature is above 0
    stop: tuple[str, ...] = ()


class _CheckSpec(_Strict):
    check: str
    params: dict[str, Any] = {}
    margin: float = Field(default=0.0, ge=0)  # in the check's unit; 0 for targets
    primary: bool = True


class _SuiteSpec(_Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    kind: SuiteKind
    family: str = Field(min_length=1)
    description: str = Field(min_length=1)
    source: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    items: str = Field(min_length=1)
    checks: tuple[_CheckSpec, ...] = Field(min_length=1)
    generation: Generation = Generation()
    system: str | None = None


class _Message(_Strict):
    role: str = Field(pattern="^(system|user|assistant)$")
    content: str


class _ItemSpec(_Strict):
    id: str = Field(default="", max_length=120)
    messages: tuple[_Message, ...] = ()
    prompt: str = ""
    expected: Any = None
    choices: tuple[str, ...] = ()
    gold: int | None = Field(default=None, ge=0)
    text: str = ""
    meta: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite as read. `checks` and `measures` are of equal length and order."""

    name: str
    kind: SuiteKind
    family: str
    description: str
    source: str
    licence: str
    path: Path
    digest: str  # sha256 hex of suite.yaml and the items
    items: tuple[Item, ...]
    checks: tuple[Check, ...]
    measures: tuple[Measure, ...]
    generation: Generation = field(default_factory=Generation)

    def part(self, split: Split) -> tuple[Item, ...]:
        """The items of `split`, in file order."""
        if split is Split.ALL:
            return self.items
        return tuple(item for item in self.items if split_of(item.id) is split)


def split_of(item_id: str) -> Split:
    """SELECT for about a third of all ids, GATE for the rest; from the id alone."""
    first = hashlib.sha256(item_id.encode()).digest()[:8]
    return Split.SELECT if int.from_bytes(first) % _SELECT_OF == 0 else Split.GATE


def read_suites(names: Sequence[str | Path]) -> tuple[Suite, ...]:
    """The suites of each folder; a folder of suites gives all of them, `default` the shipped set.

    Raises SuiteError, also where two suites have one name.
    """
    suites = [suite for name in names for suite in _read_named(name)]
    seen: dict[str, Path] = {}
    for suite in suites:
        if suite.name in seen:
            raise SuiteError(
                f"{suite.path} and {seen[suite.name]} are both named {suite.name!r}; rename one"
            )
        seen[suite.name] = suite.path
    return tuple(suites)


def _read_named(name: str | Path) -> list[Suite]:
    folder = GUARDRAILS if str(name) == DEFAULT else Path(name)
    if not folder.is_dir():
        raise SuiteError(f"{folder} is not a folder; name a suite's folder, or {DEFAULT!r}")
    if (folder / _FILE).is_file():
        return [read_suite(folder)]
    folders = sorted(path.parent for path in folder.glob(f"*/{_FILE}"))
    if not folders:
        raise SuiteError(f"{folder} holds no {_FILE}, and no folder in it does")
    return [read_suite(path) for path in folders]


def read_suite(folder: Path) -> Suite:
    """The suite in `folder`. Raises SuiteError with file, line and key."""
    path = folder / _FILE
    raw = _bytes(path)
    try:
        settings = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise SuiteError(f"{path} is not YAML: {error}") from None
    spec = _parse(_SuiteSpec, settings, str(path))
    checks = tuple(_check(each, f"{path}: checks[{i}]") for i, each in enumerate(spec.checks))
    measures = tuple(
        Measure(
            suite=spec.name,
            check=check.name,
            kind=spec.kind,
            family=spec.family,
            binary=check.binary,
            unit=check.unit,
            margin=each.margin,
            primary=each.primary,
        )
        for check, each in zip(checks, spec.checks, strict=True)
    )
    _judge_measures(measures, str(path))
    items_path = folder / spec.items
    raw_items = _bytes(items_path)
    items = _items(raw_items, items_path, checks, spec.system)
    digest = hashlib.sha256(hashlib.sha256(raw).digest() + hashlib.sha256(raw_items).digest())
    return Suite(
        name=spec.name,
        kind=spec.kind,
        family=spec.family,
        description=spec.description,
        source=spec.source,
        licence=spec.licence,
        path=folder,
        digest=digest.hexdigest(),
        items=items,
        checks=checks,
        measures=measures,
        generation=spec.generation,
    )


def texts_for_leaks(suite: Suite) -> tuple[tuple[str, str], ...]:
    """What must not stand in training data: (item id, text) of every question and scored text.

    System prompts and answers are left out: they are shared by many items, or a bare label.
    """
    found = []
    for item in suite.items:
        asked = [m["content"] for m in item.messages if m["role"] == "user"]
        text = "\n".join(part for part in (*asked, item.prompt, item.text) if part)
        found.append((item.id, text))
    return tuple(found)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SuiteError(f"{path} cannot be read: {error}") from None


def _check(spec: _CheckSpec, where: str) -> Check:
    kind = CHECKS.get(spec.check)
    if kind is None:
        raise SuiteError(f"{where}: no check {spec.check!r}{_nearest(spec.check, CHECKS)}")
    return _parse(kind, spec.params, f"{where}.params")


def _judge_measures(measures: Sequence[Measure], where: str) -> None:
    names = [measure.check for measure in measures]
    for name in names:
        if names.count(name) > 1:
            raise SuiteError(f"{where}: checks: {name} stands there twice; split the suite")
    if not any(measure.primary for measure in measures):
        raise SuiteError(f"{where}: checks: none is primary, so nothing would be judged")
    for measure in measures:
        if measure.primary and measure.kind is SuiteKind.GUARDRAIL and measure.margin == 0:
            raise SuiteError(
                f"{where}: {measure.check}: a guardrail needs a margin above 0: how much worse "
                f"({measure.unit}) it may become"
            )


def _items(raw: bytes, path: Path, checks: Sequence[Check], system: str | None) -> tuple[Item, ...]:
    items: dict[str, Item] = {}
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path} is not UTF-8: {error}") from None
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SuiteError(f"{where}: not JSON: {error}") from None
        item = _item(_parse(_ItemSpec, row, where), line, where, system)
        for check in checks:
            fault = check.fault(item)
            if fault:
                raise SuiteError(f"{where}: check {check.name}: {fault}")
        if item.id in items:
            raise SuiteError(f"{where}: id {item.id!r} stands there twice")
        items[item.id] = item
    if not items:
        raise SuiteError(f"{path} has no items; a suite with nothing to ask decides nothing")
    return tuple(items.values())


def _item(spec: _ItemSpec, line: str, where: str, system: str | None) -> Item:
    messages = tuple(message.model_dump() for message in spec.messages)
    if messages and messages[-1]["role"] == "assistant":
        raise SuiteError(
            f"{where}: messages: the last is the assistant's; put the answer into expected"
        )
    if spec.gold is not None and spec.gold >= len(spec.choices):
        raise SuiteError(f"{where}: gold is {spec.gold}, there are {len(spec.choices)} choices")
    if system is not None and messages and messages[0]["role"] != "system":
        messages = ({"role": "system", "content": system}, *messages)
    return Item(
        id=spec.id or hashlib.sha256(line.encode()).hexdigest()[:12],
        messages=messages,
        prompt=spec.prompt,
        expected=spec.expected,
        choices=spec.choices,
        gold=spec.gold,
        text=spec.text,
        meta=spec.meta,
    )


def _parse(kind: type[M], values: Any, where: str) -> M:
    """`values` as `kind`; the error names the key, and for an unknown one the nearest."""
    if not isinstance(values, Mapping):
        raise SuiteError(f"{where}: not a mapping of settings")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        # A misspelt key is also a missing one: the misspelling is what helps.
        first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _keys_at(kind, first["loc"][:-1])
            raise SuiteError(
                f"{where}: unknown key {key!r}{_nearest(str(first['loc'][-1]), known)}"
            ) from None
        raise SuiteError(f"{where}: {key}: {first['msg']}") from None


def _keys_at(kind: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys that the model at `loc` inside `kind` has."""
    here: Any = kind
    for part in loc:
        if isinstance(part, str):
            here = here.model_fields[part].annotation
            here = next((a for a in getattr(here, "__args__", ()) if a is not Ellipsis), here)
    return [info.alias or name for name, info in here.model_fields.items()]


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(sorted(known))}"
