"""A tiny model, two adapters and suites of every need, for evaluations in tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.model.fingerprint import fingerprint
from trainer.evals.suite import Suite, read_suite
from trainer.evals.targets.engine import EngineHost, EngineTarget, adapter_at


@dataclass(frozen=True)
class TinyFiles:
    model: Path
    adapters: tuple[Path, ...]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.model)


def start_engine(files: TinyFiles) -> EmbeddedEngine:
    engine = EmbeddedEngine(
        files.model,
        name="tiny",
        fingerprint=files.fingerprint,
        options=EngineOptions(device="cpu", slots=2, max_rows=6, max_len=256),
    )
    engine.start()
    return engine


def target(host: EngineHost, files: TinyFiles, number: int | None) -> EngineTarget:
    """The base for None, else that adapter."""
    if number is None:
        return EngineTarget(host)
    folder = files.adapters[number]
    adapter = adapter_at(folder, folder.name, base_fingerprint=files.fingerprint)
    return EngineTarget(host, adapter, name=folder.name)


def make_suite(folder: Path, *, name: str = "s", items: int = 9, **settings: Any) -> Suite:
    """A guardrail suite of items that suit any check but the labelled ones."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "name": name,
        "kind": "guardrail",
        "family": "test",
        "description": "d",
        "source": "s",
        "licence": "l",
        "items": "items.jsonl",
        "generation": {"max_tokens": 6},
        **settings,
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(whole))
    rows = [
        {
            "id": f"{name}-{i}",
            "messages": [{"role": "user", "content": f"the fox {i} jumps"}],
            "expected": "x",
            "choices": [" the dog", " the lazy", " over"],
            "gold": i % 3,
            "text": f"the quick brown fox {i} jumps over",
        }
        for i in range(items)
    ]
    (folder / "items.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return read_suite(folder)


def guard(check: str, **more: Any) -> dict[str, Any]:
    return {"check": check, "margin": 0.1, **more}
