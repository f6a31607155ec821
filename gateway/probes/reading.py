"""Probe sets on disk: one JSON object a line, read strictly. `trainer probes` writes them.

    {"suite": "instructions", "id": "i-1", "messages": [{"role": "user", "content": "..."}],
     "max_tokens": 32, "check": "regex", "pattern": "..."}
    {"suite": "facts", "id": "f-1", "prompt": "Question: ...", "choices": [" a", " b"], "right": 0}

`default` is the set that is shipped; every other name is a file of the probes folder.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.errors import BadInput
from gateway.guard.patterns import PatternError, compiled
from gateway.guard.values import CheckKind, CheckRule
from gateway.probes.values import Choices, Probe, ProbeSet

DEFAULT = "default"  # the shipped set's name
SUFFIX = ".jsonl"
MOST_ITEMS, MOST_SUITES = 100_000, 50
_SHIPPED = Path(__file__).parent / f"{DEFAULT}{SUFFIX}"
_Name = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")


class Message(BaseModel):
    """One turn of a probe's conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Literal["system", "user", "assistant"]
    content: str


class Line(BaseModel):
    """One line of a set: a probe that is answered and checked, or one whose choices are scored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    suite: str = _Name
    id: str = Field(min_length=1, max_length=200)
    messages: tuple[Message, ...] = Field(default=(), strict=False)
    prompt: str = ""
    max_tokens: int = Field(default=48, ge=1, le=2048)
    check: Literal["regex", "format", "refusal", "repetition", "empty", "schema"] | None = None
    pattern: str = ""
    labels: tuple[str, ...] = Field(default=(), strict=False)
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    choices: tuple[str, ...] = Field(default=(), strict=False)
    right: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Line:
        if bool(self.messages) == bool(self.prompt):
            raise ValueError("needs messages or a prompt, one of them")
        if (self.check is None) == (not self.choices):
            raise ValueError("needs a check or choices, one of them")
        if self.choices and (len(self.choices) < 2 or not all(c.strip() for c in self.choices)):
            raise ValueError("choices must be two texts or more, none empty")
        if self.choices and (self.right is None or self.right >= len(self.choices)):
            raise ValueError("right must be the place of the right choice, from 0")
        if (self.check == "regex") != bool(self.pattern):
            raise ValueError("pattern and check regex go together")
        try:
            compiled(self.pattern)
        except PatternError as error:
            raise ValueError(f"pattern does not compile: {error}") from None
        return self

    def probe(self) -> Probe:
        """The value."""
        judged: CheckRule | Choices
        if self.check is None:
            assert self.right is not None
            judged = Choices(self.choices, self.right)
        else:
            judged = CheckRule(
                CheckKind(self.check),
                pattern=self.pattern,
                labels=self.labels,
                schema=self.schema_,
            )
        messages = tuple(message.model_dump() for message in self.messages)
        return Probe(f"{self.suite}/{self.id}", judged, messages, self.prompt, self.max_tokens)


def read_set(path: Path, name: str) -> ProbeSet:
    """The set in `path`. Blocks. Raises BadInput naming file, line and field."""
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"probe set {name!r}: {path} cannot be read: {error}; make one with `trainer probes`",
            param="set",
        ) from None
    suites: dict[str, dict[str, Probe]] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = Line.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            message = str(first["msg"]).removeprefix("Value error, ")
            where = f"{path}:{number}: {field}: " if field else f"{path}:{number}: "
            raise BadInput(f"{where}{message}", param="set") from None
        items = suites.setdefault(line.suite, {})
        if line.id in items:
            raise BadInput(f"{path}:{number}: id {line.id!r} stands twice in suite {line.suite}")
        items[line.id] = line.probe()
    count = sum(len(items) for items in suites.values())
    if not 1 <= count <= MOST_ITEMS or len(suites) > MOST_SUITES:
        raise BadInput(
            f"{path} has {count} probes in {len(suites)} suites; a set has 1 to {MOST_ITEMS} in at "
            f"most {MOST_SUITES}",
            param="set",
        )
    whole = {suite: tuple(items.values()) for suite, items in suites.items()}
    return ProbeSet(name, hashlib.sha256(raw).hexdigest(), whole)


class ProbeSets:
    """The sets of one folder by name, each read again only when its file has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, int], ProbeSet]] = {}

    def get(self, name: str) -> ProbeSet:
        """The set called `name`. Blocks. Raises BadInput as `read_set`."""
        path = _SHIPPED if name == DEFAULT else self._folder / f"{name}{SUFFIX}"
        try:
            stat = path.stat()
        except OSError:
            return read_set(path, name)  # which says what is wrong
        state = (stat.st_size, stat.st_mtime_ns)
        known = self._known.get(name)
        if known is None or known[0] != state:
            known = self._known[name] = (state, read_set(path, name))
        return known[1]

    def fault(self, name: str) -> str | None:
        """Why the set called `name` cannot be asked, or None. Blocks."""
        try:
            self.get(name)
        except BadInput as error:
            return error.message
        return None


def dumped(line: Line) -> str:
    """A line as it is written: what has its default is left out."""
    return json.dumps(
        line.model_dump(by_alias=True, exclude_defaults=True, mode="json"), ensure_ascii=False
    )
