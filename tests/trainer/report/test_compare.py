"""Two runs side by side: each against the base, and pair by pair against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.trainer.report.runs import make_run
from trainer.errors import TrainerError
from trainer.report import cli
from trainer.report.compare import read_side, side_by_side, table, to_html


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    return make_run(root / "mild").root, make_run(root / "harsh", harm=40.0).root


def test_the_worse_run_is_shown_worse_on_the_same_items(runs: tuple[Path, Path]) -> None:
    registry = runs[0].parent
    both = side_by_side(*(read_side(str(run), registry) for run in runs))
    rows = {row["measure"]: row for row in table(both)}
    assert rows["fluency/perplexity"]["between"]["says"] == "b worse"
    assert rows["fluency/perplexity"]["a"]["verdict"] == "pass"
    assert rows["fluency/perplexity"]["b"]["verdict"] == "fail"
    assert both.note == ""


def test_a_registered_adapter_has_its_verdict_and_no_items(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    version = tmp_path / "triage" / "2"
    version.mkdir(parents=True)
    gate = json.loads((runs[0] / "gate.json").read_text())
    (version / "report.json").write_text(json.dumps({"gate": gate}))
    both = side_by_side(read_side("triage@2", tmp_path), read_side(str(runs[1]), tmp_path))
    assert both.rows[0].a is not None
    assert both.rows[0].between is None
    assert "B − A" in both.note
    assert both.note in to_html(both)


def test_a_name_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="neither"):
        read_side("nothing here", tmp_path)
    with pytest.raises(TrainerError, match="no adapter triage@9"):
        read_side("triage@9", tmp_path)


def test_command_draws_a_table_and_a_page(runs: tuple[Path, Path], tmp_path: Path) -> None:
    app = typer.Typer()
    cli.register(app)
    page = tmp_path / "compare.html"
    result = CliRunner().invoke(app, ["compare", *map(str, runs), "--html", str(page)])
    assert result.exit_code == 0, result.output
    assert "sections/label" in result.output
    assert "<script" not in page.read_text()
