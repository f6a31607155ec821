"""What a gateway costs: latency that it adds, requests a second and core, and streams it holds.

Each gateway has core 0 for itself; the upstream that answers at once and the load share core 1. All
are read in one run, by the same generator, beside the upstream asked directly.

Predicted before the first run: at one connection this gateway adds about 1.5 ms (tokenizing, two
HTTP hops in Python), LiteLLM five times as much, vllm-router (Rust) about 0.3 ms; this gateway does
about 500 requests a second and core without streams, LiteLLM a quarter of that. Beside them runs
what this gateway's libraries cost by themselves; that was added after the first readings, to see
what limits it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks import gateway_peers as peers
from benchmarks.gateway_upstream import MODEL
from benchmarks.results import write
from benchmarks.slow_streams import hold
from tests.redis_server import free_port

CONNECTIONS = (1, 16, 128)
_START_S = 180.0
GATEWAY_CORE, LOAD_CORE = 0, 1


@contextmanager
def running(command: Sequence[str], core: int, log: Path) -> Iterator[psutil.Process]:
    """A process on one core, ended with its children."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdout=out,
            stderr=out,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
    seen = psutil.Process(process.pid)
    try:
        yield seen
    finally:
        left = [*seen.children(recursive=True), seen] if seen.is_running() else []
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for each in left:
            if each.is_running():
                each.kill()


def wait_for(url: str, process: psutil.Process, log: Path) -> None:
    """Until `url` answers 200. Raises SystemExit with the end of the log."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.is_running():
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"{url} does not answer:\n{log.read_text()[-2000:]}")


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time of a process and its children until now."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        total += times.user + times.system
    return total


def load(url: str, model: str, connections: int, seconds: float, how: str) -> dict[str, Any]:
    """One reading by the generator, in its own process."""
    done = subprocess.run(
        [
            *("taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "benchmarks.gateway_load"),
            *(url, model, str(connections), str(seconds), how),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reading(
    url: str, model: str, connections: int, seconds: float, how: str, process: psutil.Process | None
) -> dict[str, Any]:
    """Latencies in ms, requests a second, and a second of the gateway's processor time."""
    before = cpu_seconds(process) if process else 0.0
    begun = time.perf_counter()
    found = load(url, model, connections, seconds, how)
    took = time.perf_counter() - begun
    latencies = 1e3 * np.array(found["latencies"])
    row: dict[str, Any] = {
        "requests": len(latencies),
        "failed": len(found["failed"]),
        "errors": found["failed"][:2],
        "per_second": round(len(latencies) / found["seconds"], 1),
    }
    for q in (50, 95, 99):
        row[f"p{q}_ms"] = round(float(np.percentile(latencies, q)), 3) if len(latencies) else None
    if process is not None:
        busy = (cpu_seconds(process) - before) / took
        row["cores_used"] = round(busy, 3)
        row["per_core_second"] = round(row["per_second"] / busy, 1) if busy else None
    return row


def compare(folder: Path, names: Sequence[str], seconds: float) -> dict[str, Any]:
    """All gateways and the upstream itself, at each number of connections, whole and streamed."""
    figures: dict[str, Any] = {}
    port = free_port()
    upstream = f"http://127.0.0.1:{port}"
    server = [sys.executable, "-m", "benchmarks.gateway_upstream", str(port)]
    with running(server, LOAD_CORE, folder / "upstream.log") as process:
        wait_for(f"{upstream}/health", process, folder / "upstream.log")
        figures["direct"] = {
            how: {str(n): reading(upstream, MODEL, n, seconds, how, None) for n in CONNECTIONS}
            for how in ("whole", "stream")
        }
        for gateway in peers.GATEWAYS:
            if gateway.name not in names:
                continue
            own = folder / gateway.name.replace(" ", "-")
            own.mkdir()
            at = free_port()
            url, log = f"http://127.0.0.1:{at}", own / "log"
            with running(gateway.command(at, upstream, own), GATEWAY_CORE, log) as process:
                wait_for(url + gateway.ready, process, log)
                load(url, gateway.model, 4, 2.0, "whole")  # warm
                rows = {
                    how: {
                        str(n): reading(url, gateway.model, n, seconds, how, process)
                        for n in CONNECTIONS
                    }
                    for how in ("whole", "stream")
                }
            for how, by_connections in rows.items():
                for n, row in by_connections.items():
                    beside = figures["direct"][how][n]
                    for q in ("p50_ms", "p95_ms", "p99_ms"):
                        if row[q] is not None:
                            row[f"added_{q}"] = round(row[q] - beside[q], 3)
            figures[gateway.name] = {"version": gateway.version, **rows}
            print(gateway.name, json.dumps(rows, indent=1), flush=True)
    return figures


def slow(folder: Path, streams: int, tokens: int, pause_s: float) -> dict[str, Any]:
    """Many streams at once that send a token now and then, all through one gateway process."""
    own = folder / "slow"
    own.mkdir()
    port, at = free_port(), free_port()
    upstream, url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{at}"
    server = [sys.executable, "-m", "benchmarks.gateway_upstream", str(port), str(pause_s)]
    flags = ("--server-requests", str(streams), "--max-queue", str(streams))
    with running(server, LOAD_CORE, own / "upstream.log") as process:
        wait_for(f"{upstream}/health", process, own / "upstream.log")
        command = peers.this_gateway(at, upstream, own, *flags)
        with running(command, GATEWAY_CORE, own / "log") as gateway:
            wait_for(f"{url}/health/ready", gateway, own / "log")
            return hold(url, peers.WORKFLOW, streams, tokens, gateway)


def main() -> None:
    """Read all and write `benchmarks/results/gateway.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each reading")
    parser.add_argument("--streams", type=int, default=5000, help="slow streams at once; 0: none")
    parser.add_argument("--only", nargs="*", default=[g.name for g in peers.GATEWAYS])
    parser.add_argument("--no-write", action="store_true", help="print alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as temporary:
        folder = Path(temporary)
        figures: dict[str, Any] = {"gateways": compare(folder, arguments.only, arguments.seconds)}
        if arguments.streams:
            figures["slow_streams"] = slow(folder, arguments.streams, tokens=20, pause_s=3.0)
            print(json.dumps(figures["slow_streams"], indent=1), flush=True)
    if not arguments.no_write:
        print(write("gateway", figures))


if __name__ == "__main__":
    main()
