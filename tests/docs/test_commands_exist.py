"""Every command that a page tells the reader to type exists, with the options it is given."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from gateway.cli.main import app as gateway_app
from scripts.docs.figures import ROOT
from trainer.cli import app as trainer_app

APPS: dict[str, Any] = {
    "gateway": typer.main.get_command(gateway_app),
    "trainer": typer.main.get_command(trainer_app),
}
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "reference"),
]
_TYPED = re.compile(r"^ *(?:\.venv/bin/)?((?:gateway|trainer) .*)$", re.MULTILINE)
_NAMED = re.compile(r"`(?:\.venv/bin/)?((?:gateway|trainer) [a-z][^`]*)`")


def found(words: list[str]) -> tuple[Any, list[str]]:
    """The command or group that `words` name, and what is left of them."""
    command = APPS[words[0]]
    rest = words[1:]
    while rest and getattr(command, "commands", None) is not None:
        assert rest[0] in command.commands, f"there is no command {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def named(words: list[str]) -> None:
    """Fails where a command or an option in `words` does not exist."""
    command, rest = found(words)
    known = {option for parameter in command.params for option in parameter.opts}
    for word in rest:
        if word.startswith("-"):
            assert word.split("=")[0] in known, f"{' '.join(words)}: there is no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_named_in_the_text_exist(page: Any) -> None:
    for command in _NAMED.findall(page.read_text(encoding="utf-8")):
        first = command.split("|")[0]  # `gateway keys create|list|revoke`
        if first.split()[-1] != "help":
            named(shlex.split(first.replace("…", "")))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_to_be_typed_are_whole(page: Any) -> None:
    blocks = re.findall(r"^ *```(?:sh)?\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE)
    for line in (line for block in blocks for line in _TYPED.findall(block)):
        words = shlex.split(re.split(r"\s{2,}# ", line)[0])
        command, rest = found(words)
        command.make_context(" ".join(words), rest)  # raises for what is missing or too much
