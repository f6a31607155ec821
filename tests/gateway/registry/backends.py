"""Registries of every kind for one contract: a folder, a disk and a memory by their URLs, and an
S3-compatible server. `Backend.damage` and `lose` are what happens to stored files."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from safetensors.numpy import save_file

from gateway.registry.base import AdapterRegistry
from gateway.registry.opening import open_registry
from gateway.registry.values import AdapterArtifact
from gateway.routing.table import AdapterRef

KINDS = ("folder", "file", "memory", "s3")
FINGERPRINT = "f" * 64


@dataclass
class Backend:
    """One place; each `open` is another process with a cache of its own."""

    url: str
    folder: Path

    def open(self, *, cache: str = "", cache_bytes: int | None = None) -> AdapterRegistry:
        return open_registry(
            self.url,
            cache=self.folder / (cache or f"cache-{uuid.uuid4().hex}"),
            cache_bytes=cache_bytes,
        )

    @property
    def remote(self) -> bool:
        return "://" in self.url

    def damage(self, ref: str) -> None:
        """Change one byte of the weights as they are stored."""
        fs, path = self._weights(ref)
        kept: bytes = fs.cat_file(path)
        fs.pipe_file(path, kept[:-1] + bytes([kept[-1] ^ 1]))

    def lose(self, ref: str) -> None:
        """Take the stored weights away."""
        fs, path = self._weights(ref)
        fs.rm_file(path)

    def spoil(self, ref: str) -> None:
        """Make what is said of an adapter no JSON."""
        name, version = ref.split("@")
        fs, root = fsspec.core.url_to_fs(self.url)
        at = f"{root}/adapters/{name}/{version}.json"
        fs.pipe_file(at if self.remote else f"{root}/{name}/{version}/manifest.json", b"{ no")

    def _weights(self, ref: str) -> tuple[Any, str]:
        name, version = ref.split("@")
        fs, root = fsspec.core.url_to_fs(self.url)
        if not self.remote:
            return fs, f"{root}/{name}/{version}/adapter_model.safetensors"
        entry = json.loads(fs.cat_file(f"{root}/adapters/{name}/{version}.json"))
        digest = entry["files"]["adapter_model.safetensors"]["sha256"]
        return fs, f"{root}/blobs/sha256/{digest}"


@contextmanager
def backend(kind: str, folder: Path) -> Iterator[Backend]:
    if kind == "s3":
        with s3_server() as bucket:
            yield Backend(f"s3://{bucket}/adapters of a team", folder)
        return
    urls = {
        "folder": str(folder / "registry"),
        "file": f"file://{folder}/registry",
        "memory": f"memory://{uuid.uuid4().hex}/registry",
    }
    yield Backend(urls[kind], folder)


@contextmanager
def s3_server() -> Iterator[str]:
    """A bucket in a server of this process, and the environment that leads there."""
    import s3fs

    host, port = _s3_address()
    kept = dict(os.environ)
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://{host}:{port}",
        AWS_ACCESS_KEY_ID="one",
        AWS_SECRET_ACCESS_KEY="two",
        AWS_DEFAULT_REGION="us-east-1",
    )
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        bucket = f"b{uuid.uuid4().hex}"
        s3fs.S3FileSystem().mkdir(bucket)
        yield bucket
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        os.environ.clear()
        os.environ.update(kept)


@functools.cache
def _s3_address() -> tuple[str, int]:
    """Of one server, which lives as long as this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return host, port


def peft(folder: Path, value: float = 1.0, *, size: int = 8) -> Path:
    """A PEFT adapter's folder. `value` makes its content."""
    import numpy as np

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = {"r": 4, "lora_alpha": 8, "peft_type": "LORA", "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    weights = {"x": np.full(size, value, dtype=np.float32)}
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def publish(
    registry: AdapterRegistry, folder: Path, ref: str, value: float = 1.0, **said: Any
) -> AdapterArtifact:
    return registry.add(
        peft(folder / "peft", value),
        ref=AdapterRef.parse(ref),
        base_name="tiny",
        base_fingerprint=FINGERPRINT,
        **said,
    )
