"""One line a step, also after a kill; a line a person can read."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.training.metrics import MetricsFile, StepMetrics


def step(number: int) -> StepMetrics:
    return StepMetrics(number, 1.25, 2.0, 0.5, 0.01, 4e-4, 0.9, 20, 60, 640, 2.0)


def test_what_a_killed_run_wrote_after_its_checkpoint_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, 0)
    for number in range(1, 6):
        file.write(step(number))
    file.close()
    with path.open("a") as half:
        half.write('{"step": 6, "lo')
    again = MetricsFile(path, 4)
    again.write(step(5))
    again.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]


def test_a_run_that_begins_anew_begins_its_metrics_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + "\n")
    MetricsFile(path, 0).close()
    assert path.read_text() == ""


def test_a_log_line_names_losses_rate_and_time_left() -> None:
    assert step(3).line(total=50, left_s=95) == (
        "step 3/50  loss 1.2500  target 2.0000  anchors 0.5000  kl 0.0100  lr 4.00e-04  "
        "norm 0.90  320 tokens/s  1:35 left"
    )
