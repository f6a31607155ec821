"""The identity of a base model: a digest of its configuration, weights and tokenizer.

Two folders with the same fingerprint run the same; an adapter records the one it was trained on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from gateway.errors import BadInput

# Says which library wrote the file, or how to hold the weights: not what the model is.
_VOLATILE = {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "use_cache"}
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
# How the tokenizer was fetched, not what it is.
_FETCH_KEYS = {"local_files_only", "name_or_path", "is_local"}
_CACHE = ".fingerprint.json"
_BLOCK = 1 << 22


def fingerprint(path: Path) -> str:
    """sha256 hex of the model folder `path`: config (volatile keys left out), every safetensors
    file's bytes in name order, tokenizer files. Kept beside the model while sizes and times of
    its files stay the same. Raises BadInput where there are no safetensors weights."""
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise BadInput(
            f"{path} holds no .safetensors weights; convert the model "
            "(save_pretrained writes them), as pickled weights are never opened"
        )
    files = [path / "config.json", *weights, *(path / name for name in _TOKENIZER_FILES)]
    state = [[f.name, s.st_size, s.st_mtime_ns] for f in files if f.exists() for s in [f.stat()]]
    kept = _read_kept(path / _CACHE)
    if kept is not None and kept[0] == state:
        return kept[1]
    digest = hashlib.sha256()
    for file in files:
        if not file.exists():
            continue
        digest.update(f"\0{file.name}\0".encode())
        if file.name in ("config.json", "tokenizer_config.json"):
            digest.update(_canonical(file))
        else:
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
    result = digest.hexdigest()
    with contextlib.suppress(OSError):  # a read-only model folder is hashed anew each time
        (path / _CACHE).write_text(json.dumps([state, result]))
    return result


def _canonical(file: Path) -> bytes:
    settings = json.loads(file.read_text(encoding="utf-8"))
    kept = {k: v for k, v in settings.items() if k not in _VOLATILE | _FETCH_KEYS}
    return json.dumps(kept, sort_keys=True).encode()


def _read_kept(path: Path) -> tuple[list[list[object]], str] | None:
    try:
        state, result = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return state, result
