"""A tiny base with its adapters, and engines over it: in this process, or on real servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.engine.upstream.engine import UpstreamEngine
from gateway.engine.upstream.options import ServerAddress, Timeouts, UpstreamOptions
from gateway.model.fingerprint import fingerprint
from gateway.registry.values import AdapterArtifact

# Attention of vLLM on CPU has kernels for heads of 32 and more.
HEAD_DIM = 32
MAX_LEN = 256


@dataclass
class Files:
    """A tiny base and its adapters."""

    root: Path
    model: Path
    adapters: list[AdapterArtifact]
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprint = fingerprint(self.model)


def embedded_over(files: Files) -> EmbeddedEngine:
    options = EngineOptions(device="cpu", slots=2, max_rows=6, max_len=MAX_LEN, prefill_tokens=16)
    return EmbeddedEngine(files.model, name="tiny", fingerprint=files.fingerprint, options=options)


def upstream_over(
    files: Files, *urls: str, timeouts: Timeouts | None = None, **more: object
) -> UpstreamEngine:
    options = UpstreamOptions(
        servers=tuple(ServerAddress(url) for url in urls),
        max_len=MAX_LEN,
        timeouts=timeouts or Timeouts(first_token_s=300, check_every_s=0.5, check_s=5),
        **more,  # type: ignore[arg-type]
    )
    return UpstreamEngine(files.model, name="tiny", fingerprint=files.fingerprint, options=options)
