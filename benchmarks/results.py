"""Result files: figures with the machine, command, commit and versions they were read with."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def write(name: str, figures: Any) -> Path:
    """Write `benchmarks/results/NAME.json`."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line),
        platform.processor(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "figures": figures,
        "machine": {"cpu": cpu, "cores": os.cpu_count(), "gpu": _gpu()},
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "commit": commit,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {p: importlib.metadata.version(p) for p in ("torch", "transformers", "peft")},
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
