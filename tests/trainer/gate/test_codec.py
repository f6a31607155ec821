"""gate.json holds the whole verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.gate.evaluations import FACTS, TARGET, pairs_of, right
from trainer.errors import TrainerError
from trainer.gate.codec import read_verdict, verdict_to_json
from trainer.gate.judge import judge
from trainer.gate.values import GateRule


def test_a_verdict_comes_back_as_it_was(tmp_path: Path) -> None:
    scores = {TARGET: (right(5, 40), right(30, 40)), FACTS: (right(9, 20), right(8, 20))}
    verdict = judge(pairs_of(scores), GateRule(margins={"facts/exact": 0.2}))
    (tmp_path / "gate.json").write_text(verdict_to_json(verdict))
    assert read_verdict(tmp_path / "gate.json") == verdict


@pytest.mark.parametrize("text", ["", "{}", '{"verdict": "maybe"}'])
def test_what_is_no_verdict_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "gate.json").write_text(text)
    with pytest.raises(TrainerError, match="no verdict"):
        read_verdict(tmp_path / "gate.json")
    with pytest.raises(TrainerError, match="is no"):
        read_verdict(tmp_path / "gate.json", key="gate")
    with pytest.raises(TrainerError, match="cannot be read"):
        read_verdict(tmp_path / "none.json")
