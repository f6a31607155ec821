"""The commands of README.md, run as they stand there, say what it says they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.model.source import DEFAULT_NAME, default_cache
from scripts.docs.figures import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
# What is not run here, and why.
SKIPPED = {
    "make run": "sets up a new environment from the network; what it starts is started here",
    "make test": "is what runs this test",
    ".venv/bin/gateway serve --model /path/to/model": "needs a model of the reader's own",
    ".venv/bin/trainer train recipes/package-section/recipe.yaml": "takes half an hour",
    ".venv/bin/trainer register runs/package-section": "needs the trained run",
    ".venv/bin/gateway adapters approve package-section@3": "needs what was registered",
}
DEADLINE_S = 120


@dataclass(frozen=True)
class Step:
    """One command with the lines that README says it prints."""

    command: str
    says: tuple[str, ...]


def steps(page: str) -> list[Step]:
    """The commands of the page's `sh` blocks in order; comment lines below one are its output."""
    found: list[Step] = []
    for block in re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("# "):
                last = found[-1]
                found[-1] = Step(last.command, (*last.says, line.removeprefix("# ")))
            elif line.strip():
                found.append(Step(re.split(r"\s{2,}# ", line)[0].strip(), ()))
    return found


@dataclass(frozen=True)
class Shell:
    """A folder like a fresh clone's, with a running gateway on free ports."""

    folder: Path
    inference: int
    admin: int

    def run(self, command: str) -> str:
        """What `command` prints; fails where it does."""
        for written, meant in (
            ("localhost:8000", f"127.0.0.1:{self.inference}"),
            (".venv/bin/python", sys.executable),
            (".venv/bin/gateway", f"{sys.executable} -m gateway.cli.main"),
            ("/path/to/peft-adapter", str(self.folder / "peft-adapter")),
        ):
            command = command.replace(written, meant)
        environment = os.environ | {
            "GATEWAY_ADMIN_URL": f"http://127.0.0.1:{self.admin}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
        }
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.replace("\r", "")

    def revision(self) -> int:
        """The live table's revision."""
        found: int = json.loads(self.run(".venv/bin/gateway routes --json"))["revision"]
        return found


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    if not list(default_cache().glob(f"{DEFAULT_NAME}-*")):
        pytest.skip("the default model is not in the cache; `make setup` puts it there")
    shutil.copy(ROOT / "routes.yaml", tmp_path)
    shutil.copytree(ROOT / "registry", tmp_path / "registry")
    own = tmp_path / "peft-adapter"
    own.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(ROOT / "registry/package-section/2" / name, own)
    config = json.loads((own / "adapter_config.json").read_text())
    (own / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 8}))
    log = tmp_path / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli.main", "serve", "--port", "0", "--admin-port", "0"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=out,
        )
    try:
        wait(lambda: process.poll() is not None or "/admin/v1" in log.read_text(), log)
        ports = re.findall(r"^  (?:inference|admin) .*:(\d+)/", log.read_text(), re.MULTILINE)
        assert len(ports) == 2, log.read_text()
        yield Shell(tmp_path, int(ports[0]), int(ports[1]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def wait(condition: object, said: object) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"it did not happen in time: {said}"
        time.sleep(0.05)


@pytest.mark.model
def test_the_commands_of_the_readme_do_what_it_says(shell: Shell) -> None:
    for step in steps(README):
        if step.command in SKIPPED:
            continue
        edits = "routes.yaml" in step.command
        before = shell.revision() if edits else 0
        out = shell.run(step.command)
        for line in step.says:
            assert line in out, f"{step.command} does not say {line!r} but {out}"
        if edits:
            wait(lambda before=before: shell.revision() > before, step.command)


def test_what_is_skipped_stands_in_the_readme() -> None:
    assert SKIPPED.keys() <= {step.command for step in steps(README)}


def test_what_make_run_prints_stands_in_the_readme() -> None:
    squeezed = " ".join(README.replace("\\\n", " ").split())
    for line in (ROOT / "scripts/try.txt").read_text().splitlines():
        if line.startswith("  "):
            assert " ".join(line.split()) in squeezed
