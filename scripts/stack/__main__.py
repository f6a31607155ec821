"""The whole stack on one machine, without containers: what deploy/compose.yaml describes.

Starts a Redis with its append-only file, two engines, two gateways over both and, where
`prometheus` is on PATH, a Prometheus with the shipped rules; starts again what ends by itself; ends
all of them with itself. Everything that is written goes below one folder, so a second start goes on
where the first was. Settings of gateways and engines are taken from GATEWAY_... and gateway.toml.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from gateway.model.source import resolve_model
from gateway.settings import Settings, read_settings
from scripts.stack import commands
from scripts.stack.supervisor import ROOT, Command, Member, Stack, say

_VLLM_NAME = "base"  # what the servers call the base model


def stack(arguments: argparse.Namespace) -> Stack:
    """The members that the arguments ask for; writes the configuration that they read."""
    folder: Path = arguments.folder.resolve()
    redis_port, prometheus_port, *rest = arguments.ports
    settings = _settings()
    # Two share the machine: with more threads than processors each would wait for the other.
    threads = settings.threads or max(1, (os.cpu_count() or 1) // 2)
    gateway_ports, engine_ports = rest[:4], [] if arguments.engines == "none" else rest[4:]
    made = {"redis": commands.redis(folder / "redis", redis_port)}
    made |= _engines(arguments.engines, engine_ports, settings, threads)
    addresses = zip(gateway_ports[::2], gateway_ports[1::2], strict=True)
    for name, ports in zip(("gateway-a", "gateway-b"), addresses, strict=True):
        made[name] = commands.gateway(
            name,
            ports,
            folder / name,
            redis_port=redis_port,
            routes=arguments.routes,
            registry=arguments.registry,
            servers=[f"http://127.0.0.1:{port}" for port in engine_ports],
            flags=arguments.gateway_flags,
            threads=threads,
        )
    program = arguments.prometheus or shutil.which("prometheus")
    if program is None:
        say("no prometheus on PATH: the stack runs without one (Debian: prometheus)")
    else:
        made["prometheus"] = commands.prometheus(
            str(program), folder / "prometheus", prometheus_port, gateway_ports[::2], engine_ports
        )
    for name in made:
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Stack([Member(name, it, folder / f"{name}.log") for name, it in made.items()])


def _engines(
    kind: str, ports: Sequence[int], settings: Settings, threads: int
) -> dict[str, Command]:
    if kind == "none":
        return {}
    names = ("engine-a", "engine-b")
    if kind == "gateway":
        made = [commands.engine(port, threads) for port in ports]
        return dict(zip(names, made, strict=True))
    environment, model = commands.vllm_environment(), resolve_model(settings.model, progress=say)
    made = [
        commands.vllm(
            *(environment, model.path, port),
            name=_VLLM_NAME,
            max_len=settings.max_len,
            threads=threads,
        )
        for port in ports
    ]
    return dict(zip(names, made, strict=True))


def _settings() -> Settings:
    """What the members will read: they run in the repository's root."""
    file = ROOT / "gateway.toml"
    return read_settings({}, file=file if file.is_file() else None)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.stack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var/stack"), help="what is written")
    parser.add_argument("--routes", type=Path, default=ROOT / "routes.yaml")
    parser.add_argument("--registry", type=Path, default=ROOT / "registry")
    parser.add_argument("--prometheus", type=Path, help="its program, where it is not on PATH")
    parser.add_argument(
        "--engines",
        choices=("gateway", "vllm", "none"),
        default="gateway",
        help="what runs the model: two `gateway engine`, two vLLM servers on CPU (installed in the "
        "cache, 2 GB), or each gateway in itself (default: gateway)",
    )
    parser.add_argument(
        "--ports",
        type=int,
        nargs=8,
        default=[6390, 9090, 8000, 8001, 8010, 8011, 8100, 8110],
        help="of Redis, Prometheus, each gateway's inference and admin port, and each engine",
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
    there = {member.name for member in made.members}
    redis_port, prometheus_port, *port = arguments.ports
    say(f"gateway-a  inference http://127.0.0.1:{port[0]}  admin http://127.0.0.1:{port[1]}")
    say(f"gateway-b  inference http://127.0.0.1:{port[2]}  admin http://127.0.0.1:{port[3]}")
    if "engine-a" in there:
        say(f"engines    http://127.0.0.1:{port[4]}, http://127.0.0.1:{port[5]}")
    say(f"redis      redis://127.0.0.1:{redis_port}/0")
    if "prometheus" in there:
        say(f"prometheus http://127.0.0.1:{prometheus_port}")
    say(f"logs and data in {arguments.folder}; the gateways take some seconds; Ctrl-C ends all")
    # A terminal's Ctrl-C reaches this process alone: the members have sessions of their own.
    made.keep(stop)


if __name__ == "__main__":
    os.umask(0o077)
    main()
