"""The base answers each anchor prompt once; a run that goes on reads what it said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.worked import tiny_files
from trainer.data import self_anchors
from trainer.data.rows import Row

ROWS = [
    Row(f"chat.jsonl:{i}", ({"role": "user", "content": text},), "")
    for i, text in enumerate(("the quick brown fox", "a gateway sends each"))
]


def test_answers_are_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_files(tmp_path / "model")
    kept = tmp_path / "data" / "self-anchors.jsonl"

    def ask(rows: list[Row], base: str = model.fingerprint) -> list[Row]:
        return self_anchors.answer_by_base(
            rows, replace(model, fingerprint=base), kept, answer_tokens=6, max_tokens=120
        )

    first = ask(ROWS)
    assert all(row.answer for row in first)
    assert not any(row.ended for row in first)  # a random model does not stop by itself

    asked: list[str] = []
    original = self_anchors._ask

    async def counted(rows: list[Row], *rest: object) -> list[Row]:
        asked.extend(row.id for row in rows)
        return await original(rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(self_anchors, "_ask", counted)
    assert ask(ROWS) == first
    assert asked == []
    more = Row("chat.jsonl:9", ({"role": "user", "content": "lazy dog"},), "")
    assert ask([*ROWS, more])[:2] == first
    assert asked == ["chat.jsonl:9"]
    ask(ROWS, base="0" * 64)  # another base must answer for itself
    assert asked == ["chat.jsonl:9", "chat.jsonl:0", "chat.jsonl:1"]
