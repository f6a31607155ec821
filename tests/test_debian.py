"""Programs out of Debian's packages: PATH first, and a reason where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import debian


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One with nothing on PATH but what a test puts there, and an empty cache."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GATEWAY_CACHE", str(tmp_path / "cache"))
    debian.find.cache_clear()
    yield tmp_path
    debian.find.cache_clear()


def put(folder: Path, name: str, script: str = "exit 0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_what_is_on_path_is_taken(machine: Path) -> None:
    there = put(machine, "promtool")
    assert debian.find("promtool", "prometheus") == there


def test_what_was_fetched_before_is_taken_without_apt(machine: Path) -> None:
    there = put(machine / "cache" / "debian" / "prometheus" / "usr" / "bin", "promtool")
    assert debian.find("promtool", "prometheus") == there


@pytest.mark.parametrize(
    ("tools", "why"),
    [
        ({}, "this machine has no apt-get"),
        ({"apt-get": "echo 'E: no route' >&2; exit 100", "dpkg-deb": "exit 0"}, "E: no route"),
    ],
)
def test_a_test_is_skipped_with_the_reason(machine: Path, tools: dict[str, str], why: str) -> None:
    for name, script in tools.items():
        put(machine, name, script)
    with pytest.raises(pytest.skip.Exception, match=why):
        debian.program("promtool", "prometheus")
    assert not [*(machine / "cache").glob("debian/*")]  # nothing half made is left
