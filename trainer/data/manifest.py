"""The data manifest: where every part of a run's data is from, its digest and its sizes."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class PartCounts:
    """One part's file and what became of its rows."""

    field: str  # "data.target.0"
    file: str  # the file's name: a path of this machine says nothing elsewhere
    kind: str  # "target", or the anchors' kind
    answers: str  # "given" or "base"
    source: str
    licence: str
    sha256: str
    rows: int  # in the file
    over_long: int  # longer than data.max_tokens, left out
    duplicates: int  # left out
    empty: int  # the base model answered nothing, left out
    used: int
    tokens: int  # of the used rows, prompts too
    loss_tokens: int  # of the used rows' answers


@dataclass(frozen=True, slots=True)
class DataManifest:
    """All parts and the shares, by loss tokens, in which they are drawn."""

    parts: tuple[PartCounts, ...]
    anchor_share_asked: float
    anchor_share: float  # as drawn over the whole budget
    target_passes: float
    anchor_passes: float
    shares: dict[str, float]  # of the drawn loss tokens, by kind

    @property
    def digest(self) -> str:
        """sha256 hex over the parts' digests, in order."""
        joined = "\n".join(f"{part.kind} {part.answers} {part.sha256}" for part in self.parts)
        return hashlib.sha256(joined.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, **asdict(self)}


def file_digest(path: Path) -> str:
    """sha256 hex of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
