"""What every registry promises. Back ends: a folder (`store.py`) and object storage by its URL
(`remote.py`); one contract test runs on both.

Methods block (disk, network); call them off the event loop. Where the registry cannot be asked they
raise RegistryUnavailable, which names it and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from gateway.errors import NotFound
from gateway.nearest import nearest
from gateway.registry.catalogue import Catalogue
from gateway.registry.manifest import Manifest, Provenance
from gateway.registry.values import NO_GATE, AdapterArtifact, AdapterState, GateResult
from gateway.routing.table import AdapterRef

AtHand = Callable[[AdapterArtifact], AbstractContextManager[None]]


class AdapterRegistry(Protocol):
    """Immutable adapters by reference. Safe in any thread."""

    @property
    def where(self) -> str:
        """The folder or URL, without a password."""
        ...

    def refs(self) -> list[AdapterRef]:
        """Every adapter's reference, sorted. Nothing is read but names."""
        ...

    def find(self, ref: AdapterRef) -> AdapterArtifact | None:
        """The adapter with its files on this disk and hashed, or None. Raises AdapterRejected
        where they are not what was published."""
        ...

    def get(self, ref: AdapterRef) -> AdapterArtifact:
        """The same, but raises NotFound naming the nearest one there is."""
        ...

    def catalogue(self) -> Catalogue:
        """Every adapter by what was published about it; no file is hashed, and none is fetched."""
        ...

    def look_ahead(self, ref: AdapterRef) -> None:
        """Have the adapter's files fetched, where there is room, and hashed before somebody needs
        them. Raises as `find`."""
        ...

    def at_hand(self, artifact: AdapterArtifact) -> AbstractContextManager[None]:
        """Within it the adapter's files lie at `artifact.path`, and stay. Raises AdapterRejected
        where they cannot be had."""
        ...

    def list(self) -> list[AdapterArtifact]:
        """Every adapter that can be had, sorted. `damaged` has the others."""
        ...

    def damaged(self) -> dict[AdapterRef, str]:
        """The adapters that cannot be had, with the reason: one of them hides no other."""
        ...

    def manifest(self, ref: AdapterRef) -> Manifest:
        """What the adapter was published with. Raises as `get`."""
        ...

    def verify(self, ref: AdapterRef) -> AdapterArtifact:
        """Hash every byte again where the registry keeps it. Raises as `get`."""
        ...

    def report(self, ref: AdapterRef) -> dict[str, Any] | None:
        """The eval report the adapter was published with, if it has one. Raises AdapterRejected
        where it cannot be read."""
        ...

    def add(
        self,
        folder: Path,
        *,
        ref: AdapterRef,
        base_name: str,
        base_fingerprint: str,
        workflow: str = "",
        description: str = "",
        state: AdapterState = AdapterState.CANDIDATE,
        report: Mapping[str, Any] | None = None,
        recipe: str | None = None,
        gate: GateResult = NO_GATE,
        provenance: Provenance | None = None,
    ) -> AdapterArtifact:
        """Publish the PEFT adapter in `folder` as `ref`, with the verdict of its evals and what it
        was made from.

        Raises BadInput where `ref` exists with other content, AdapterRejected where the folder is
        no PEFT LoRA adapter or holds what no adapter may hold. No reader ever sees half of it;
        publishing the same content again answers what is there.
        """
        ...


def here(_: AdapterArtifact) -> AbstractContextManager[None]:
    """`at_hand` of what lies on this disk for good."""
    return nullcontext()


def not_found(ref: AdapterRef, registry: AdapterRegistry) -> NotFound:
    """What `get` raises."""
    near = nearest(str(ref), map(str, registry.refs()))
    hint = f"; did you mean {near}?" if near else ""
    return NotFound(
        f"adapter {ref} is not in the registry {registry.where}{hint}",
        param="adapter",
        nearest=near,
    )
