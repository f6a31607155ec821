"""A verdict as JSON and back: `gate.json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from trainer.errors import TrainerError
from trainer.gate.values import GateVerdict

_ADAPTER = TypeAdapter(GateVerdict)


def verdict_to_json(verdict: GateVerdict) -> str:
    """Indented JSON with every field of the verdict and its rule."""
    return json.dumps(asdict(verdict), indent=2, allow_nan=False) + "\n"


def read_verdict(path: Path) -> GateVerdict:
    """The verdict kept at `path`. Raises TrainerError where it is missing or none."""
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise TrainerError(f"{path} cannot be read: {error}; run the gate first") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise TrainerError(f"{path} is no verdict: {field}: {first['msg']}") from None
