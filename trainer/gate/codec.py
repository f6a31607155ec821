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


def read_verdict(path: Path, *, key: str = "") -> GateVerdict:
    """The verdict kept at `path`, under `key` if it is one part of the file. Raises TrainerError
    where it is missing or none."""
    try:
        text = path.read_bytes()
        if not key:
            return _ADAPTER.validate_json(text)
        # As JSON again: only there may an enum be its text and a tuple a list.
        whole = json.loads(text)
        part = whole.get(key) if isinstance(whole, dict) else None
        return _ADAPTER.validate_json(json.dumps(part))
    except OSError as error:
        raise TrainerError(f"{path} cannot be read: {error}; run the gate first") from None
    except json.JSONDecodeError as error:
        raise TrainerError(f"{path} is no JSON: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise TrainerError(f"{path} is no verdict: {field}: {first['msg']}") from None
