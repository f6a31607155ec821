"""Ports for the control plane: a registry as a value, an engine that records and can refuse."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from gateway.engine.base import EngineInfo, EngineStats
from gateway.errors import AdapterRejected, BadInput, NotFound
from gateway.registry.catalogue import Catalogue
from gateway.registry.values import AdapterArtifact, AdapterState, GateResult, GateVerdict
from gateway.routing.table import AdapterRef

INFO = EngineInfo("embedded", "tiny", "fp", "llama", "cpu", "float32", 8, 64, 4, 8, 16, 16)
PASSED = GateResult(GateVerdict.PASS, "better and harmless")


def adapter(
    ref: str, state: AdapterState = AdapterState.APPROVED, gate: GateResult = PASSED
) -> AdapterArtifact:
    parsed = AdapterRef.parse(ref)
    digest = hashlib.sha256(ref.encode()).hexdigest()
    return AdapterArtifact(
        parsed,
        digest,
        Path("/nowhere") / parsed.name,
        "tiny",
        "fp",
        8,
        ("q_proj",),
        1,
        state,
        gate=gate,
    )


class MemoryRegistry:
    """The adapters it was given; `broken` ones are damaged on disk."""

    def __init__(self, *artifacts: AdapterArtifact) -> None:
        self.held = {artifact.ref: artifact for artifact in artifacts}
        self.broken: set[AdapterRef] = set()

    def find(self, ref: AdapterRef) -> AdapterArtifact | None:
        if ref in self.broken:
            raise AdapterRejected("damaged", adapter=str(ref))
        return self.held.get(ref)

    def get(self, ref: AdapterRef) -> AdapterArtifact:
        found = self.find(ref)
        if found is None:
            raise NotFound(f"no {ref}")
        return found

    def refs(self) -> list[AdapterRef]:
        return sorted(self.held)

    def catalogue(self) -> Catalogue:
        whole = {ref: self.held[ref] for ref in self.refs() if ref not in self.broken}
        return Catalogue(whole, dict.fromkeys(self.broken & self.held.keys(), "damaged"))

    def report(self, ref: AdapterRef) -> None:
        return None

    def look_ahead(self, ref: AdapterRef) -> None:
        self.find(ref)


class RecordingEngine:
    """Remembers what was asked. `gate` closed makes every load wait; `refuse` names digests."""

    def __init__(self, slots: int = 8) -> None:
        self.info = replace(INFO, slots=slots)
        self.resident: set[str] = set()
        self.pinned: set[str] = set()
        self.refuse: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()

    def stats(self) -> EngineStats:
        counts = dict.fromkeys((f.name for f in fields(EngineStats)), 0)
        held = {"resident_adapters": tuple(self.resident), "pinned_adapters": tuple(self.pinned)}
        return EngineStats(**cast(Any, {**counts, **held, "healthy": True}))

    def check_adapter(self, artifact: AdapterArtifact) -> None:
        pass

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        if schema.get("type") == "impossible":
            raise BadInput("cannot be compiled")

    async def make_resident(self, artifact: AdapterArtifact) -> None:
        self.waiting.set()
        await self.gate.wait()
        if artifact.digest in self.refuse:
            raise AdapterRejected("does not fit", adapter=str(artifact.ref))
        self.resident.add(artifact.digest)

    def set_pinned(self, digests: Collection[str]) -> None:
        self.pinned = set(digests)
