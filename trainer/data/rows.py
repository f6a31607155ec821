"""Rows of messages, read from JSONL files with the place of every fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import DataError

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation whose last message is the answer to learn."""

    id: str  # the file's name and line, "train.jsonl:12"
    prompt: tuple[Mapping[str, str], ...]
    answer: str
    ended: bool = True  # False: the answer was cut, its end is not to be learnt

    @property
    def prompt_text(self) -> str:
        """Everything before the answer, without roles: what duplicates are told by."""
        return "\n".join(message["content"] for message in self.prompt)

    @property
    def asked_text(self) -> str:
        """What the user asked: what leaks are told by. A system prompt is shared by many rows."""
        return "\n".join(m["content"] for m in self.prompt if m["role"] == "user")


def read_rows(path: Path, *, answered: bool = True) -> list[Row]:
    """The rows of a JSONL file; with `answered` False the last message may be the user's, its
    answer then is "". Raises DataError with file and line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    rows = [
        _row(line, f"{path.name}:{number}", f"{path}:{number}", answered)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not rows:
        raise DataError(f"{path} holds no rows")
    return rows


def _row(line: str, row_id: str, place: str, answered: bool) -> Row:
    try:
        item = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: not JSON: {error}") from None
    if not isinstance(item, dict) or not isinstance(item.get("messages"), list):
        raise DataError(f'{place}: not a row {{"messages": [...]}}')
    unknown = set(item) - {"messages", "ended"}
    if unknown:
        raise DataError(f"{place}: unknown keys {sorted(unknown)}; known are messages and ended")
    messages = [_message(message, place) for message in item["messages"]]
    ended = item.get("ended", True)
    if not isinstance(ended, bool):
        raise DataError(f"{place}: ended must be true or false")
    if messages and messages[-1]["role"] == "assistant":
        *prompt, last = messages
        answer = last["content"]
        if answered and not answer.strip():
            raise DataError(f"{place}: the answer is empty")
    elif answered:
        raise DataError(f"{place}: the last message must be the assistant's answer")
    else:
        prompt, answer = messages, ""
    if not prompt or prompt[-1]["role"] != "user" or not prompt[-1]["content"].strip():
        raise DataError(f"{place}: there must be a user's message before the answer")
    return Row(row_id, tuple(prompt), answer, ended)


def _message(message: Any, place: str) -> dict[str, str]:
    if (
        not isinstance(message, dict)
        or set(message) != {"role", "content"}
        or message["role"] not in _ROLES
        or not isinstance(message["content"], str)
    ):
        raise DataError(
            f'{place}: a message is {{"role": ..., "content": text}} with a role of '
            f"{', '.join(_ROLES)}"
        )
    return message
