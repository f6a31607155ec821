"""An adapter's entry in the index of a registry in object storage: its manifest, and which objects
hold its files. Written last: where there is an entry, there are its files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import AdapterRejected, BadInput
from gateway.registry.content import CONFIG, WEIGHTS
from gateway.registry.manifest import Manifest
from gateway.registry.staging import RECIPE, REPORT
from gateway.routing.table import AdapterRef

INDEX, BLOBS, COLLECTED = "adapters", "blobs/sha256", "collected"
_FileName = Literal[
    "adapter_config.json", "adapter_model.safetensors", "report.json", "recipe.yaml"
]
_FILES = (CONFIG, WEIGHTS, REPORT, RECIPE)
_BLOCK = 1 << 20


class StoredFile(BaseModel):
    """One file's content."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: int = Field(ge=0)  # bytes

    @property
    def blob(self) -> str:
        """The object that holds it."""
        return f"{BLOBS}/{self.sha256}"


class Entry(BaseModel):
    """What `adapters/<name>/<version>.json` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    manifest: Manifest
    files: dict[_FileName, StoredFile]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files.values())


def index_path(ref: AdapterRef, folder: str = INDEX) -> str:
    """The object of an adapter's entry."""
    return f"{folder}/{ref.name}/{ref.version}.json"


def ref_of(path: str, folder: str = INDEX) -> AdapterRef | None:
    """The adapter whose entry an object is; None for what is no entry."""
    parts = path.removeprefix(f"{folder}/").split("/")
    if len(parts) != 2 or not parts[1].endswith(".json"):
        return None
    try:
        return AdapterRef.parse(f"{parts[0]}@{parts[1].removesuffix('.json')}")
    except BadInput:
        return None


def entry_of(folder: Path, manifest: Manifest) -> Entry:
    """The entry of a staged adapter. Hashes its files."""
    files = {name: _stored(folder / name) for name in _FILES if (folder / name).is_file()}
    return Entry.model_validate({"manifest": manifest, "files": files})


def parse_entry(data: bytes, ref: AdapterRef, where: str) -> Entry:
    """Read the entry at `where`. Raises AdapterRejected naming the field."""
    try:
        entry = Entry.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise AdapterRejected(
            f"{ref}: {where}: {field or 'the whole'}: {first['msg']}; publish it again as a new "
            "version, or put the object back",
            adapter=str(ref),
        ) from None
    if entry.manifest.ref != ref:
        raise AdapterRejected(
            f"{ref}: {where}: says it is {entry.manifest.ref}; publish it under that name",
            adapter=str(ref),
        )
    if missing := {CONFIG, WEIGHTS} - entry.files.keys():
        raise AdapterRejected(
            f"{ref}: {where}: files: {min(missing)} is missing; publish it as a new version",
            adapter=str(ref),
        )
    return entry


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _stored(path: Path) -> StoredFile:
    return StoredFile(sha256=sha256_of(path), size=path.stat().st_size)
