"""The tables of figures render what a results file holds, and leave out what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.docs import figures
from scripts.docs.tables.capacity import (
    capacity_engine,
    capacity_gateway,
    capacity_guard,
    capacity_memory,
    machines,
    planned,
    seconds_each,
)
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


def test_capacity_follows_from_the_figures_by_the_stated_formulas(results: Path) -> None:
    assert planned(64.0, 32) == pytest.approx(0.7 * 2)
    assert seconds_each(16, 64.0, 32) == 8.0
    assert [machines(wanted, 64.0, 32) for wanted in (1, 1.4, 1.5, 100)] == [1, 1, 2, 72]
    (results / "engine.json").write_text(json.dumps(ONE))
    page = capacity_engine()
    assert "| 16 | 180 | 3.95 | 340,956 | 2.8 | 1, 3, 26 |" in page
    assert "`benchmarks/results/engine.json`" in page


def test_capacity_without_figures_says_so_and_with_some_leaves_the_others_out(
    results: Path,
) -> None:
    for made in (capacity_engine, capacity_gateway, capacity_guard, capacity_memory):
        assert made() == "Not read yet.\n"
    control = {"figures": {"bytes_per_route": {"10": 1000, "10000": 500}}, "at": "", "machine": {}}
    (results / "control.json").write_text(json.dumps(control))
    assert "| 10,000 routes, MB | 5.0 |" in capacity_memory()
    row = {"per_core_second": 1000.0}
    gateway = {
        "figures": {
            "gateways": {"this gateway": {"whole": {"16": row}, "stream": {"16": {}}}},
            "slow_streams": {"kib_a_stream": 100.0},
        },
        "machine": {},
    }
    (results / "gateway.json").write_text(json.dumps(gateway))
    assert "| whole answers, 16 connections | 1000 | 700 | 2 |" in capacity_gateway()
    assert "streams, 16 connections" not in capacity_gateway()
    assert "| 1,000 open streams, MB | 102 |" in capacity_memory()
