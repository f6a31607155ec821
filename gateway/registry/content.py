"""What an adapter is made of: which files may lie in its folder, and the digest over them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gateway.errors import AdapterRejected

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# No suffix of a pickle (.bin, .pt, .pth, .pkl) and nothing that runs.
ALLOWED_SUFFIXES = (".json", ".jsonl", ".md", ".safetensors", ".yaml", ".yml")
_BLOCK = 1 << 20


def check_files(folder: Path, name: str) -> None:
    """Raise AdapterRejected where `folder` is no adapter's: its configuration or weights are
    missing, a file is a link or of a kind that is not accepted. Opens nothing."""

    def refuse(message: str) -> AdapterRejected:
        return AdapterRejected(f"{name}: {message}", adapter=name)

    if not folder.is_dir():
        raise refuse(f"{folder} is not a folder")
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            raise refuse(f"{path} is a link, not a regular file; copy the file itself there")
        if path.name.startswith("."):
            continue  # an editor's or the desktop's; never read, never published
        if not path.is_file() or path.suffix not in ALLOWED_SUFFIXES:
            raise refuse(
                f"{path} is not accepted; an adapter holds {', '.join(ALLOWED_SUFFIXES)} files "
                "alone (pickled weights are never opened: save it as safetensors)"
            )
    for required in (CONFIG, WEIGHTS):
        if not (folder / required).is_file():
            raise refuse(f"{folder / required} is missing; save the adapter with PEFT")


def adapter_digest(folder: Path, name: str) -> str:
    """The identity of the adapter in `folder`, as sha256 hex: over `adapter_config.json` as JSON
    with sorted keys, then the bytes of `adapter_model.safetensors`. Formatting of the
    configuration does not change it; any other change does. Raises AdapterRejected."""
    digest = hashlib.sha256()
    digest.update(json.dumps(read_config(folder, name), sort_keys=True).encode())
    with (folder / WEIGHTS).open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """`adapter_config.json` as it stands. Raises AdapterRejected where it is no JSON object."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterRejected(f"{name}: {path} is no JSON: {error}", adapter=name) from None
    if not isinstance(config, dict):
        raise AdapterRejected(f"{name}: {path} is not a JSON object", adapter=name)
    return config
