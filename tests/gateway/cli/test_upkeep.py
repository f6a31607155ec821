"""`gateway adapters verify` and `gc`: of a folder and of a URL, without a gateway."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.log.sqlite import FILE_NAME, SqliteLog
from gateway.registry.values import AdapterArtifact
from gateway.routing.events import AdapterApproved, Draft
from tests.gateway.registry.backends import Backend, backend, publish


@pytest.fixture(params=["folder", "file"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backend]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_CACHE", str(tmp_path / "cache"))
    with backend(request.param, tmp_path) as made:
        monkeypatch.setenv("GATEWAY_REGISTRY", made.url)
        yield made


def run(*command: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["adapters", *command])
    return done.exit_code, done.output


def log_of(folder: Path, *approved: AdapterArtifact) -> Path:
    folder.mkdir()
    log = SqliteLog(folder / FILE_NAME)
    for index, each in enumerate(approved):
        log.append(Draft(AdapterApproved(each.ref, each.digest), "ann", "", 1.0), expected=index)
    log.close()
    return folder


def test_verify_names_what_is_damaged_and_fails(place: Backend, tmp_path: Path) -> None:
    publish(place.open(), tmp_path, "hurt@1", 1.0)
    publish(place.open(), tmp_path, "whole@1", 2.0)
    code, said = run("verify")
    assert (code, "2 adapters" in said, "0 damaged" in said) == (0, True, True)
    place.damage("hurt@1")
    code, said = run("verify")
    assert code == 1
    assert "DAMAGED  hurt@1" in said
    assert run("verify", "whole@1")[0] == 0
    code, said = run("verify", "--json")
    assert list(json.loads(said)["damaged"]) == ["hurt@1"]


def test_gc_removes_what_no_log_names_and_says_what_it_kept(place: Backend, tmp_path: Path) -> None:
    one = publish(place.open(), tmp_path, "one@1", 1.0)
    two = publish(place.open(), tmp_path, "two@1", 2.0)
    publish(place.open(), tmp_path, "idle@1", 3.0)
    states = [
        "--state",
        str(log_of(tmp_path / "a", one)),
        "--state",
        str(log_of(tmp_path / "b", two)),
    ]
    code, said = run("gc", *states)
    assert code == 0, said
    assert "0 adapters" in said
    assert "2 that a log names, 1 younger than 7d" in said
    if place.remote:
        return  # its times are those of the publication
    month = time.time() - 30 * 86_400
    folder = Path(place.url) / "idle/1"
    manifest = folder / "manifest.json"
    stated = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(stated | {"created_at": "2026-01-01T00:00:00+00:00"}))
    os.utime(manifest, (month, month))
    code, said = run("gc", *states, "--dry-run")
    assert "idle@1" in said
    assert "would be removed" in said
    assert folder.is_dir()
    code, said = run("gc", *states, "--settle-s", "0", "--json")
    assert code == 0, said
    assert [each["ref"] for each in json.loads(said)["removed"]] == ["idle@1"]
    assert not folder.exists()
    assert sorted(map(str, place.open().refs())) == ["one@1", "two@1"]


def test_gc_refuses_without_a_whole_log_and_removes_nothing(place: Backend, tmp_path: Path) -> None:
    one = publish(place.open(), tmp_path, "one@1")
    code, said = run("gc", "--state", str(tmp_path / "nowhere"))
    assert code == 1, said
    assert "there is no log at" in said
    code, said = run("gc", "--state", str(log_of(tmp_path / "empty")))
    assert code == 1
    assert "no revision" in said
    state = str(log_of(tmp_path / "a", one))
    code, said = run("gc", "--state", state, "--state", "redis://127.0.0.1:1")
    assert code == 1, said
    code, said = run("gc", "--state", state, "--older-than", "10m")
    assert code == 2
    assert "less than 1h" in said
    assert [str(ref) for ref in place.open().refs()] == ["one@1"]
