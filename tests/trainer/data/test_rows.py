"""Bad rows are named by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.data.rows import read_rows
from trainer.errors import DataError

GOOD = '{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a row"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "assistant's answer"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "user's message"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "role of"),
        (GOOD.replace('"y"', '" "'), "the answer is empty"),
        (GOOD[:-1] + ', "label": 1}', "unknown keys"),
        (GOOD[:-1] + ', "ended": "no"}', "ended must be"),
    ],
)
def test_a_bad_row_is_named_by_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n")
    with pytest.raises(DataError, match=rf"rows\.jsonl:3: .*{said}"):
        read_rows(path)


def test_rows_know_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"\n{GOOD}\n{GOOD}\n")
    assert [row.id for row in read_rows(path)] == ["rows.jsonl:2", "rows.jsonl:3"]


def test_a_prompt_alone_is_a_row_where_the_base_will_answer(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "x"}]}\n')
    assert read_rows(path, answered=False)[0].answer == ""
