"""The identity of a base model: a digest of its configuration, weights and tokenizer.

Two folders with the same fingerprint run the same; an adapter records the one it was trained on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from gateway.errors import BadInput

# Says which library wrote the file, or how to hold the weights: not what the model is.
_VOLATILE = {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "use_cache"}
# How the tokenizer was fetched, not what it is.
_FETCH_KEYS = {"local_files_only", "name_or_path", "is_local"}
_CANONICAL = ("config.json", "tokenizer_config.json")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
    "merges.txt",
    "tokenizer.model",
    "vocab.json",
)
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_CACHE = ".fingerprint.json"
_BLOCK = 1 << 22


def fingerprint(path: Path) -> str:
    """sha256 hex of the model folder `path`: config (volatile keys left out, keys sorted), the
    bytes of the safetensors files that transformers loads in name order, tokenizer files. Each
    file is preceded by its name.

    Kept beside the model while sizes and times of its files stay the same. Raises BadInput where
    there is no config.json, no safetensors weights, or a listed shard is missing.
    """
    files = [
        path / "config.json",
        *_weight_files(path),
        *(path / name for name in _TOKENIZER_FILES if (path / name).is_file()),
    ]
    if not files[0].is_file():
        raise BadInput(f"{path} holds no config.json; give a Hugging Face model folder")
    # Read before the bytes: a file that changes while it is hashed is hashed again next time.
    state = [[f.name, s.st_size, s.st_mtime_ns] for f in files for s in [f.stat()]]
    kept = _read_kept(path / _CACHE)
    if kept is not None and kept[0] == state:
        return kept[1]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"\0{file.name}\0".encode())
        if file.name in _CANONICAL:
            digest.update(_canonical(file))
        else:
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
    result = digest.hexdigest()
    with contextlib.suppress(OSError):  # a read-only model folder is hashed anew each time
        own = path / f"{_CACHE}.{os.getpid()}"
        own.write_text(json.dumps([state, result]))
        own.replace(path / _CACHE)
    return result


def _weight_files(path: Path) -> list[Path]:
    """What transformers would load; others (a second copy, an adapter) are not the model."""
    if (path / _INDEX).is_file():
        shards = sorted(set(_object(path / _INDEX).get("weight_map", {}).values()))
        missing = [name for name in shards if not (path / name).is_file()]
        if missing or not shards:
            raise BadInput(
                f"{path / _INDEX} lists {missing[0] if missing else 'no files'}"
                f"{', which is not there' if missing else ''}; fetch the model again"
            )
        return [path / name for name in shards]
    if (path / _WEIGHTS).is_file():
        return [path / _WEIGHTS]
    raise BadInput(
        f"{path} holds no {_WEIGHTS} or {_INDEX}; convert the model with save_pretrained, which "
        "writes .safetensors, as pickled weights are never opened"
    )


def _canonical(file: Path) -> bytes:
    return json.dumps(_without(_object(file)), sort_keys=True).encode()


def _without(settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` without volatile keys, also those of nested (text, vision) configurations."""
    return {
        key: _without(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in _VOLATILE | _FETCH_KEYS
    }


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{file} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadInput(f"{file} is not a JSON object")
    return found


def _read_kept(path: Path) -> tuple[list[list[object]], str] | None:
    try:
        state, result = json.loads(path.read_text())
    except (OSError, ValueError, TypeError):
        return None
    return (state, result) if isinstance(result, str) else None
