"""Texts of pairs are kept up to a bound, the newest, for their owner alone."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.guard.shadow_text import append


def test_the_newest_lines_stay_within_the_bound(tmp_path: Path) -> None:
    for at in range(200):
        append(tmp_path, "w", {"n": at, "text": "\ud800" + "x" * 60}, 4000)
    files = sorted((tmp_path / "shadow").iterdir())
    assert [file.name for file in files] == ["w.1.jsonl", "w.jsonl"]
    assert sum(file.stat().st_size for file in files) <= 4000
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    kept = [json.loads(line)["n"] for file in files for line in file.read_text().splitlines()]
    assert kept == list(range(kept[0], 200))


def test_a_line_over_the_bound_is_left_out(tmp_path: Path) -> None:
    append(tmp_path, "w", {"text": "x" * 6000}, 10_000)
    assert not (tmp_path / "shadow").exists()
