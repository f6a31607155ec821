"""The tables of figures render what a results file holds, and leave out what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.docs import figures
from scripts.docs.tables.engine import engine, engine_gpu

ONE: dict[str, Any] = {
    "figures": {
        "1": {"gateway engine, base": {"tokens_per_s": 40.0, "first_token_s": 0.1}},
        "16": {
            "gateway engine, base": {"tokens_per_s": 200.0},
            "gateway engine, mixed": {"tokens_per_s": 180.4},
        },
        "ratios": {"16": {"mixed_to_base": 0.912}},
    },
    "machine": {"cpu": "a CPU", "cores": 2, "gpu": None},
    "at": "2026-01-02T03:04:05+00:00",
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    return tmp_path


def test_each_way_and_ratio_is_a_row_and_what_was_not_read_is_a_dash(results: Path) -> None:
    (results / "engine.json").write_text(json.dumps(ONE))
    page = engine()
    assert "| tokens/s | 1 stream | 16 streams |" in page
    assert "| gateway engine, mixed | - | 180 |" in page
    assert "| gateway engine, base | 0.100 | - |" in page
    assert "| mixed 8 adapters to base only | - | 0.91 | 0.85 |" in page
    assert "| memory" not in page
    assert "Read on a CPU, 2 cores; 2026-01-02 (`benchmarks/results/engine.json`)." in page


def test_a_ratio_that_was_not_read_is_that_of_the_figures_above_it(results: Path) -> None:
    plain = {**ONE, "figures": {k: v for k, v in ONE["figures"].items() if k != "ratios"}}
    (results / "engine.json").write_text(json.dumps(plain))
    assert "| mixed 8 adapters to base only | - | 0.90 | 0.85 |" in engine()


def test_without_a_results_file_the_page_says_so(results: Path) -> None:
    assert engine() == "Not read yet.\n"
    assert engine_gpu() == "No GPU figure has been read yet.\n"


def test_every_other_machine_has_its_own_tables(results: Path) -> None:
    gpu = {**ONE, "machine": {"gpu": "a GPU"}}
    for name in ("engine", "engine-gpu", "engine-large"):
        (results / f"{name}.json").write_text(json.dumps(gpu))
    page = engine_gpu()
    assert page.count("Read on a GPU") == 2
    assert "engine.json" not in page
