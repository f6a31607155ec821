"""`manifest.json`: what was said of an adapter when it was published, strictly read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import AdapterRejected
from gateway.registry.content import CONFIG, WEIGHTS, adapter_digest, read_config
from gateway.registry.values import NO_GATE, AdapterState, GateResult, GateVerdict
from gateway.routing.table import AdapterRef

MANIFEST = "manifest.json"
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ManifestBase(BaseModel):
    """The base model that the adapter was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    fingerprint: _Sha256


class ManifestGate(BaseModel):
    """The gate's verdict; absent for an adapter that was made elsewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    verdict: Literal["pass", "fail", "undecided"]
    reason: str
    figures: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}

    def result(self) -> GateResult:
        return GateResult(GateVerdict(self.verdict), self.reason, self.figures)


class Provenance(BaseModel):
    """What an adapter was made from, by digest; absent for one that was made elsewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    code: str  # the trainer's version, and its commit where it is known
    recipe: _Sha256  # of recipe.yaml, as resolved
    data: dict[str, _Sha256]  # by the part's field in the recipe and its file
    suites: dict[str, _Sha256]  # by suite: what the verdict rests on


class Manifest(BaseModel):
    """One adapter's manifest. `rank` and `alpha` are PEFT's `r` and `lora_alpha`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    name: str
    version: str
    digest: _Sha256
    base: ManifestBase
    rank: int = Field(ge=1)
    alpha: float = Field(allow_inf_nan=False)
    use_rslora: bool
    target_modules: tuple[str, ...]
    size_bytes: int = Field(ge=0)  # of the weights file
    created_at: str  # ISO 8601, UTC
    workflow: str = ""
    description: str = ""
    state: AdapterState = AdapterState.CANDIDATE
    gate: ManifestGate | None = None
    provenance: Provenance | None = None

    @property
    def ref(self) -> AdapterRef:
        return AdapterRef(self.name, self.version)


def parse_manifest(path: Path, name: str) -> Manifest:
    """Read the manifest at `path`. Raises AdapterRejected naming file and field."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise AdapterRejected(f"{name}: {path} cannot be read: {error}", adapter=name) from None
    except ValidationError as error:
        raise AdapterRejected(f"{name}: {path}: {_first(error)}", adapter=name) from None


def make_manifest(
    folder: Path,
    ref: AdapterRef,
    *,
    base_name: str,
    base_fingerprint: str,
    workflow: str,
    description: str,
    state: AdapterState,
    gate: GateResult = NO_GATE,
    provenance: Provenance | None = None,
) -> Manifest:
    """The manifest of the adapter in `folder`. Raises AdapterRejected where its configuration
    lacks what a LoRA has."""
    config = read_config(folder, str(ref))
    modules = config.get("target_modules")
    values: dict[str, Any] = {
        "name": ref.name,
        "version": ref.version,
        "digest": adapter_digest(folder, str(ref)),
        "base": {"name": base_name, "fingerprint": base_fingerprint},
        "rank": config.get("r"),
        "alpha": config.get("lora_alpha"),
        "use_rslora": bool(config.get("use_rslora")),
        # PEFT takes one pattern or a list of names, and writes the list in no order.
        "target_modules": [modules] if isinstance(modules, str) else sorted(modules or ()),
        "size_bytes": (folder / WEIGHTS).stat().st_size,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "workflow": workflow,
        "description": description,
        "state": state,
        "gate": _stated(gate),
        "provenance": provenance,
    }
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise AdapterRejected(
            f"{ref}: {_first(error)}; {CONFIG} needs r and lora_alpha as numbers (a LoRA's)",
            adapter=str(ref),
        ) from None


def _stated(gate: GateResult) -> dict[str, Any] | None:
    if gate.verdict is GateVerdict.NONE:
        return None
    return {"verdict": gate.verdict.value, "reason": gate.reason, "figures": dict(gate.figures)}


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else str(first["msg"])
