"""What a registry holds at one look, from what was published about each adapter.

The files themselves are not hashed for it: that is done when an adapter is to be approved, routed
to or loaded (`find`), so that a registry of thousands is listed in a moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.registry.values import AdapterArtifact
from gateway.routing.table import AdapterRef


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Adapters by reference, in order. `damaged` are those that cannot be had, with the reason:
    one of them hides no other. `away`: why the registry itself could not be asked, in which case
    this is what was known of it before."""

    artifacts: Mapping[AdapterRef, AdapterArtifact] = field(default_factory=dict)
    damaged: Mapping[AdapterRef, str] = field(default_factory=dict)
    away: str | None = None
