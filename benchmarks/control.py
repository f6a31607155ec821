"""The control plane's figures: a disable across four replicas under load, changes under load, and
a table of 10,000 workflows (`control_table`). A real Redis, real processes, a tiny random model.

    python -m benchmarks.control [--trials 1000] [--changes 200]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import httpx

from benchmarks import results
from benchmarks.control_table import big_table
from gateway.log.location import RedisLocation, parse_location
from gateway.log.redis import RedisLog
from gateway.registry.store import Registry
from gateway.routing.effective import effective
from gateway.routing.fold import fold_all
from gateway.settings import Settings
from tests import tiny
from tests.redis_server import RedisServer

REPLICAS = 4
# Written down before the first run.
PREDICTED = {
    "disable_ms": {"p50": 3.0, "p99": 30.0},
    "edit_of_10000_ms": 5000.0,
    "resolve_us": 0.1,
}
ROUTES = """\
version: 1
workflows:
  w: {target: one@1}
  v: {target: two@1}
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=200)
    asked = parser.parse_args()
    figures: dict[str, Any] = {"predicted": PREDICTED, "replicas": REPLICAS}
    figures |= asyncio.run(big_table())
    print(json.dumps(figures), flush=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        figures |= fleet(Path(folder), stack, asked.trials, asked.changes)
    print(json.dumps(figures, indent=2))
    print(results.write("control", figures))


def fleet(folder: Path, stack: ExitStack, trials: int, changes: int) -> dict[str, Any]:
    """Four gateways on one Redis, two clients at each."""
    model = tiny.make_tiny_model(folder / "model")
    registry = Registry(folder / "registry")
    for seed, name in enumerate(("one", "two"), 1):
        made = tiny.make_tiny_adapter(folder / name, model, seed=seed)
        tiny.publish(registry, made, f"{name}@1", model)
    (folder / "routes.yaml").write_text(ROUTES)
    server = RedisServer(folder / "redis").start()
    stack.callback(server.kill)
    processes = []
    for number in range(REPLICAS):
        settings = Settings(
            port=0,
            admin_port=0,
            routes=folder / "routes.yaml",
            state=cast(Any, server.url),
            local_state=folder / "var",
            replica=f"gw-{number}",
            registry=str(folder / "registry"),
            model=str(model),
            device="cpu",
            threads=1,
            slots=2,
            max_rows=4,
            max_len=256,
            grace_s=1,
        )
        out = folder / f"gw-{number}.json"
        processes.append(_start("control_replica", settings.model_dump_json(), str(out)))
    for process in processes:
        stack.callback(process.kill)
    ports = [json.loads(cast(Any, process.stdout).readline()) for process in processes]
    urls = [f"http://127.0.0.1:{inference}" for inference, _ in ports]
    admins = [f"http://127.0.0.1:{admin}/admin/v1" for _, admin in ports]
    load = _start("control_load", str(folder / "load.json"), *urls)
    stack.callback(load.kill)
    time.sleep(2)
    windows = disable_trials(admins, trials)
    applied = change_trials(admins, changes)
    for process in (load, *processes):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    told = [json.loads((folder / f"gw-{n}.json").read_text()) for n in range(REPLICAS)]
    answers = json.loads((folder / "load.json").read_text())
    location = parse_location(server.url)
    assert isinstance(location, RedisLocation)
    events = RedisLog(location).read()
    return {
        "disable_ms": disable_figures(windows, told),
        "changes": applied,
        "answers": judged(answers, events),
    }


def _start(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def disable_trials(admins: list[str], trials: int) -> list[tuple[float, float, int, float]]:
    """For each: when the disable was acknowledged, when its enabling was sent, its revision, and
    how long the command took (seconds). The command waits for nobody but the log."""
    found = []
    with httpx.Client(timeout=30) as http:
        for trial in range(trials):
            admin = admins[trial % len(admins)]
            began = time.monotonic()
            done = http.post(f"{admin}/workflows/w/disable", json={"reason": "trial"})
            acknowledged = time.monotonic()
            done.raise_for_status()
            time.sleep(0.06)
            sent = time.monotonic()
            revision = done.json()["revision"]
            found.append((acknowledged, sent, revision, acknowledged - began))
            body = {"reason": "trial", "wait_s": 2}
            http.post(f"{admin}/workflows/w/enable", json=body).raise_for_status()
    return found


def disable_figures(
    windows: list[tuple[float, float, int, float]], told: list[dict[str, Any]]
) -> dict[str, Any]:
    """From the acknowledgement: to the last admission on the disabled adapter by any replica, and
    to the moment when the last replica had swapped (what bounds it, whatever the load)."""
    hits = sorted(t for one in told for t, name, tuned in one["admitted"] if tuned and name == "w")
    swaps: dict[int, list[float]] = {}
    for one in told:
        for at, revision in one["swapped"]:
            swaps.setdefault(revision, []).append(at)
    admitted, swapped = [], []
    for acknowledged, sent, revision, _ in windows:
        last = bisect_right(hits, sent) - 1
        late = hits[last] - acknowledged if last >= 0 else 0.0
        admitted.append(max(0.0, late) * 1e3)
        assert len(swaps[revision]) == len(told)
        swapped.append(max(0.0, max(swaps[revision]) - acknowledged) * 1e3)
    return {
        "trials": len(windows),
        "last_admitted": _summary(admitted),
        "swapped_everywhere": _summary(swapped),
        "command": _summary([took * 1e3 for *_, took in windows]),
    }


def change_trials(admins: list[str], changes: int) -> dict[str, Any]:
    """Tables, disables, enables, rollbacks and resumes of all replicas, under load."""
    other = ROUTES.replace("two@1", "one@1")
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", "/table", {"text": other}),
        ("POST", "/workflows/v/disable", {"reason": "change"}),
        ("POST", "/workflows/v/enable", {}),
        ("POST", "/workflows/v/rollback", {"reason": "change"}),
        ("POST", "/workflows/v/resume", {}),
        ("PUT", "/table", {"text": ROUTES}),
    ]
    took = []
    with httpx.Client(timeout=30) as http:
        for number in range(changes):
            method, path, body = steps[number % len(steps)]
            began = time.monotonic()
            answer = http.request(method, admins[number % len(admins)] + path, json=body)
            answer.raise_for_status()
            took.append((time.monotonic() - began) * 1e3)
            time.sleep(0.02)
    return {"changes": changes, "command_ms": _summary(took)}


def judged(answers: list[list[Any]], events: Any) -> dict[str, int]:
    """Answers that failed, and answers from a target that the revision in their header does not
    route their workflow to."""
    states = [fold_all(())]
    for event in events:
        states.append(fold_all([event], states[-1]))
    tables: dict[int, Any] = {}
    failed = wrong = 0
    for status, workflow, target, revision in answers:
        if status != 200:
            failed += 1
            continue
        if revision not in tables:
            tables[revision] = effective(states[revision])
        wrong += str(tables[revision].decisions[workflow].target) != target
    return {"requests": len(answers), "failed": failed, "wrong": wrong}


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for name, q in at.items()}
    return {name: round(value, 2) for name, value in {**found, "worst": ordered[-1]}.items()}


if __name__ == "__main__":
    main()
