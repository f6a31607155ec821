"""End to end: an approved adapter is replaced by a damaged one under traffic, and the guard takes
the route back. A real gateway process, the real base model, real HTTP.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.guard_damage import DAMAGES, LABELS, ROOT, Damage, make

CLIENTS = 4
HEALTHY = 16  # answers of the approved adapter before it is replaced
AFTER = 8  # answers of base after the route is back
_PATIENCE_S = 300.0

_LABELS = json.dumps(LABELS)
_SECTION = f"""
      checks:
        labels: {{labels: {_LABELS}, reference: 0.02, tolerance: 0.03}}
        collapse: {{labels: {_LABELS}, reference: 0.25, tolerance: 0.2}}
        refusal:
        empty:"""
_FACTS = """
      checks:
        schema: {schema: {type: object}, reference: 0.02, tolerance: 0.03}
        refusal:
        empty:"""
_CHAT = f"""
      checks:
        format: {{labels: {_LABELS}, reference: 0.02, tolerance: 0.03}}
        refusal:
        empty:"""
_BAD = "benchmark-damaged@1"


@dataclass(frozen=True, slots=True)
class Scene:
    """A workflow, its healthy adapter and its guard; `items` are a file of prompts."""

    healthy: str
    items: str
    checks: str
    max_tokens: int

    def table(self, target: str) -> str:
        """routes.yaml with the workflow `w` on `target`."""
        return (
            f"version: 1\nworkflows:\n  w:\n    target: {target}\n    temperature: 0\n"
            f"    default_max_tokens: {self.max_tokens}\n    guard:\n      on_trip: disable"
            f"{self.checks}\n"
        )


SCENES = {
    "label-collapse": Scene("package-section@2", "package-section/suite/items.jsonl", _SECTION, 12),
    "broken-json": Scene("package-facts@2", "package-facts/suite/items.jsonl", _FACTS, 120),
    "refuses": Scene("package-section@2", "package-section/suite/items.jsonl", _SECTION, 12),
    # The same adapter serves plain chat well; its next version answers it in labels.
    "leaks-format": Scene("package-section@2", "anchors/chat.jsonl", _CHAT, 32),
}


def read(threads: int) -> dict[str, Any]:
    """For each damage: requests and seconds from the damaged adapter's first answer until the
    route's first answer by base, and what failed."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for damage in DAMAGES:
            took = make(damage, folder / damage.name)
            print(f"{damage.name} made in {took:.0f} s", flush=True)
            found[damage.name] = {"made_in_s": round(took, 1)} | _scene(damage, folder, threads)
            print(json.dumps(found[damage.name]), flush=True)
    return found


def _scene(damage: Damage, folder: Path, threads: int) -> dict[str, Any]:
    scene, home = SCENES[damage.name], folder / f"{damage.name}-gateway"
    home.mkdir()
    shutil.copytree(ROOT / "registry", home / "registry")
    (home / "routes.yaml").write_text(scene.table(scene.healthy))
    with _gateway(home, threads) as (inference, admin):
        return asyncio.run(_played(scene, home, inference, admin, folder / damage.name))


async def _played(
    scene: Scene, home: Path, inference: str, admin: str, damaged: Path
) -> dict[str, Any]:
    prompts = _prompts(scene)
    answers: list[tuple[float, int, str]] = []  # when it came, status, target
    enough = asyncio.Event()

    async def client(http: httpx.AsyncClient) -> None:
        while not enough.is_set():
            body = {"model": "w", "messages": next(prompts)}
            reply = await http.post("/v1/chat/completions", json=body)
            target = reply.headers.get("x-gateway-target", "")
            answers.append((time.monotonic(), reply.status_code, target))

    async def until(target: str, count: int) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while sum(one[2] == target for one in answers) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async with httpx.AsyncClient(base_url=inference, timeout=_PATIENCE_S) as http:
        clients = [asyncio.create_task(client(http)) for _ in range(CLIENTS)]
        try:
            await until(scene.healthy, HEALTHY)
            await _replace(admin, damaged)
            (home / "routes.yaml").write_text(scene.table(_BAD))
            await until("base", AFTER)
        finally:
            enough.set()
            await asyncio.gather(*clients)
    async with httpx.AsyncClient(base_url=admin, timeout=30) as http:
        (event, *_) = (await http.get("/revisions", params={"limit": 1})).json()["revisions"]
    bad = [one for one in answers if one[2] == _BAD]
    back = min(at for at, _, target in answers if target == "base")
    return {
        "healthy_answers": sum(target == scene.healthy for _, _, target in answers),
        "bad_answers": len(bad),
        "seconds": round(back - bad[0][0], 2),
        "requests": len(answers),
        "failed": sum(status != 200 for _, status, _ in answers),
        "actor": event["actor"],
        "why": event["reason"],
    }


async def _replace(admin: str, damaged: Path) -> None:
    """Register and approve the damaged adapter as an operator would who skips the gate."""
    async with httpx.AsyncClient(base_url=admin, timeout=60) as http:
        body = {"folder": str(damaged), "ref": _BAD, "reason": "benchmark"}
        (await http.post("/adapters", json=body)).raise_for_status()
        order = {"override": True, "reason": "a damaged adapter, on purpose"}
        (await http.post(f"/adapters/{_BAD}/approve", json=order)).raise_for_status()


def _prompts(scene: Scene) -> Iterator[list[dict[str, str]]]:
    lines = (ROOT / "recipes" / scene.items).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line)["messages"] for line in lines]
    return itertools.cycle([each for each in row if each["role"] != "assistant"] for row in rows)


@contextmanager
def _gateway(home: Path, threads: int) -> Iterator[tuple[str, str]]:
    """`gateway serve` on free ports; the addresses of its two APIs."""
    serve = "from gateway.cli.main import app; app()"
    flags = {
        "--routes": home / "routes.yaml",
        "--registry": home / "registry",
        "--state": home / "var",
        "--local-state": home / "local",
        "--port": 0,
        "--admin-port": 0,
        "--threads": threads,
        "--max-len": 1024,
        "--log-level": "error",
    }
    stated = [str(part) for pair in flags.items() for part in pair]
    process = subprocess.Popen(
        [sys.executable, "-c", serve, "serve", *stated], stderr=subprocess.PIPE, text=True, cwd=home
    )
    assert process.stderr is not None
    said, addresses = [], []
    try:
        for line in process.stderr:
            said.append(line)
            addresses += re.findall(r"https?://\S+", line)
            if len(addresses) == 2:
                break
        if len(addresses) < 2:
            raise RuntimeError("the gateway did not start: " + "".join(said))
        yield addresses[0].removesuffix("/v1"), addresses[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
