"""The table of many adapters says what its results file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.docs import figures
from scripts.docs.tables.many_adapters import many_adapters

LOAD: dict[str, Any] = {
    "requests_per_s": 3.0,
    "tokens_per_s": 48.2,
    "first_token_s": {"p50": 1.0, "p95": 2.0},
    "between_tokens_s": {"p99": 0.2},
    "hit_rate": 0.4,
    "requests": 100,
    "loads": 50,
    "memory_hit_rate": 0.7,
    "stalls": 5,
    "stall_s": {"p50": 0.01, "p95": 0.05, "max": 0.1},
    "hit_rate_of_trace": {"LRU": 0.25, "optimum": 0.46},
    "memory_tier_mb": 900.0,
}


def test_loads_and_what_was_never_waited_for_are_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert many_adapters() == "Not read yet.\n"
    few = {**LOAD, "loads": 0, "stalls": 0, "stall_s": {}, "hit_rate": 1.0}
    read = {
        "figures": {
            "predicted": {"throughput_to_few": 0.6},
            "throughput_to_few": {"each_round": [0.9, 0.92], "median": 0.91, "aim": 0.8},
            "loads": {"many": LOAD, "few": few},
            "threads": 1,
            "rounds": 2,
            "requests_of_a_round": 100,
            "in_flight": 32,
            "prompt_tokens": 48,
            "new_tokens": 16,
            "rank": 8,
            "adapter_mb": 4.9,
        },
        "machine": {"cpu": "a CPU", "cores": 2, "gpu": None},
    }
    (tmp_path / "adapters.json").write_text(json.dumps(read))
    page = many_adapters()
    assert "| many | 3.0 | 48 | 1.00 | 2.00 | 200 |" in page
    assert "| many | 40% | 50% | 25% | 46% | 70% | 5% | 10 | 50 | 100 |" in page
    assert "| few | 100% | 100% | 25% | 46% | - | 0% | - | - | - |" in page
    assert "0.91 (aim 0.80, predicted 0.60; rounds 0.90, 0.92)" in page
