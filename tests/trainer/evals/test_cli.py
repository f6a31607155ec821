"""`trainer evaluate` from the command line, over a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.registry.store import Registry
from tests import tiny
from tests.trainer.evals.models import TinyFiles, guard, make_suite
from trainer.cli import app


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.output


def test_base_folder_and_registered_adapter_side_by_side(files: TinyFiles, tmp_path: Path) -> None:
    make_suite(tmp_path / "suites" / "text", name="text", checks=[guard("perplexity")])
    make_suite(tmp_path / "suites" / "chat", name="chat", checks=[guard("length")])
    tiny.publish(Registry(tmp_path / "registry"), files.adapters[1], "b@2", files.model)
    out = tmp_path / "out.json"
    code, output = run(
        *("--suite", tmp_path / "suites", "--model", files.model, "--target", "base"),
        *("--target", files.adapters[0], "--target", "b@2"),
        *("--registry", tmp_path / "registry", "--out", out, "--json"),
    )
    assert code == 0, output
    shown = json.loads(output[output.index('{\n  "evaluations"') :])["evaluations"]
    assert [each["model"] for each in shown] == ["base", "a0@0", "b@2"]
    scores = [each["suites"][1]["scores"]["perplexity"] for each in shown]
    assert len(set(scores)) == 3
    whole = json.loads(out.read_text())["evaluations"]
    assert len(whole[2]["suites"][0]["items"]) == 9


def test_a_table_says_the_paired_difference(files: TinyFiles, tmp_path: Path) -> None:
    make_suite(tmp_path / "s", checks=[guard("perplexity"), guard("length", primary=False)])
    code, output = run(
        "--suite", tmp_path / "s", "--model", files.model, "--target", files.adapters[0]
    )
    assert code == 0, output
    assert "s/perplexity" in output
    assert "±" in output
    assert "reported, not judged" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "nowhere"], "nowhere is not a folder"),
        (["--target", "who"], "write name@version"),
        (["--target", "who@1"], "who@1"),
        (["--target", "http://127.0.0.1:9/v1"], "names no workflow"),
    ],
)
def test_a_wrong_name_is_an_error_of_one_line(
    files: TinyFiles, tmp_path: Path, arguments: list[str], message: str
) -> None:
    make_suite(tmp_path / "s", checks=[guard("perplexity")])
    suite = [] if "--suite" in arguments else ["--suite", tmp_path / "s"]
    code, output = run(*suite, *arguments, "--model", files.model, "--registry", tmp_path / "r")
    assert code == 2
    assert message in output.replace("\n", " ")
    assert "Traceback" not in output
