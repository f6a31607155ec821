"""The gateways under test as commands: this one, and peers in environments of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway_upstream import MODEL
from gateway.model.source import default_cache

LITELLM = "litellm[proxy]==1.105.0"  # the newest whose extra can be had from PyPI
VLLM_ROUTER = "vllm-router==0.1.17"
WORKFLOW = "chat"  # of this gateway; the peers know the model by its own name

_LITELLM_CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{upstream}/v1", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0, set_verbose: false}}
general_settings: {{master_key: sk-bench, disable_spend_logs: true}}
"""
_ROUTES = """\
version: 1
workflows:
  chat: {target: base}
"""


@dataclass(frozen=True)
class Gateway:
    """One gateway. `command` takes its port, the upstream's address and a folder of its own."""

    name: str
    version: str
    model: str
    ready: str
    command: Callable[[int, str, Path], list[str]]


def environment(requirement: str) -> Path:
    """The Python of an environment that has `requirement`; made once, in the cache."""
    name = requirement.replace("==", "-").replace("[", "-").replace("]", "")
    folder = default_cache() / "peers" / name
    python = folder / "bin" / "python"
    if not (folder / "whole").exists():
        print(f"installing {requirement}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", requirement], check=True)
        (folder / "whole").touch()
    return python


def this_gateway(port: int, upstream: str, folder: Path, *flags: str) -> list[str]:
    """This gateway over the upstream, as one process."""
    (folder / "routes.yaml").write_text(_ROUTES)
    settings = {
        "port": port,
        "admin-port": 0,
        "routes": folder / "routes.yaml",
        "state": folder / "state",
        "registry": folder / "registry",
        "log-level": "warning",
    }
    (folder / "gateway.toml").write_text(
        f'engine = "upstream"\nservers = ["{upstream}"]\nserver_model = "{MODEL}"\n'
    )
    command = [str(Path(sys.executable).parent / "gateway"), "serve"]
    command += ["--config", str(folder / "gateway.toml")]
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    return [*command, *flags]


def floor(port: int, upstream: str, folder: Path) -> list[str]:
    """The libraries that this gateway stands on, and nothing else."""
    return [sys.executable, "-m", "benchmarks.gateway_floor", str(port), upstream]


def litellm(port: int, upstream: str, folder: Path) -> list[str]:
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM_CONFIG.format(model=MODEL, upstream=upstream))
    program = str(environment(LITELLM).parent / "litellm")
    command = [program, "--config", str(config), "--host", "127.0.0.1"]
    return [*command, "--port", str(port), "--num_workers", "1", "--telemetry", "False"]


def vllm_router(port: int, upstream: str, folder: Path) -> list[str]:
    program = str(environment(VLLM_ROUTER).parent / "vllm-router")
    command = [program, "--worker-urls", upstream, "--host", "127.0.0.1"]
    return [*command, "--port", str(port), "--policy", "round_robin"]


GATEWAYS = (
    Gateway("this gateway", "", WORKFLOW, "/health/ready", this_gateway),
    Gateway("FastAPI and aiohttp alone", "", MODEL, "/health", floor),
    Gateway("LiteLLM proxy", LITELLM, MODEL, "/health/liveliness", litellm),
    Gateway("vllm-router", VLLM_ROUTER, MODEL, "/health", vllm_router),
)
