"""What a run leaves in the registry, and what is refused on the way there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.model.source import ModelFiles
from gateway.registry.opening import open_registry
from gateway.registry.report import eval_answers
from gateway.registry.store import Registry
from gateway.registry.values import AdapterState, GateVerdict
from tests.trainer.test_pipeline import whole_recipe
from tests.trainer.worked import tiny_files
from trainer.choice import read_choice
from trainer.cli import app
from trainer.errors import TrainerError
from trainer.evals.results import read_evaluation
from trainer.evals.values import Split
from trainer.folder import RunFolder
from trainer.pipeline import Run
from trainer.recipe_file import read_recipe
from trainer.registering import register
from trainer.report.cli import write_report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, ModelFiles]:
    root = tmp_path_factory.mktemp("registering")
    model = tiny_files(root / "model")
    folder = RunFolder(root / "run")
    Run(read_recipe(whole_recipe(root / "recipe")), model, folder).execute()
    write_report(folder)
    return folder, model


def test_a_run_becomes_the_next_version_with_its_verdict_and_digests(
    run: tuple[RunFolder, ModelFiles], tmp_path: Path
) -> None:
    folder, model = run
    registry = Registry(tmp_path)
    artifact = register(folder, registry, model)
    assert (str(artifact.ref), artifact.state) == ("colours@1", AdapterState.CANDIDATE)
    assert artifact.gate.verdict is not GateVerdict.NONE
    assert artifact.gate.verdict.value == json.loads(folder.gate.read_text())["verdict"]
    manifest = registry.manifest(artifact.ref)
    assert manifest.base.fingerprint == model.fingerprint
    assert manifest.provenance is not None
    assert set(manifest.provenance.suites) == {"colours", "chatter"}
    assert len(manifest.provenance.data) == 3
    assert registry.report(artifact.ref) is not None


def test_its_report_holds_what_it_answered_in_the_target_eval(
    run: tuple[RunFolder, ModelFiles], tmp_path: Path
) -> None:
    folder, model = run
    registry = Registry(tmp_path)
    report = registry.report(register(folder, registry, model).ref)
    chosen = read_choice(folder.choice).chosen
    judged = read_evaluation(folder.evaluation(Split.GATE, chosen)).suite("colours")
    assert report is not None
    assert list(report["answers"]) == ["colours"]
    answers = eval_answers(report)
    assert [answer.text for answer in answers] == [item.answer for item in judged.items]
    assert {answer.finish for answer in answers} <= {"stop", "length"}


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_registering_again_answers_what_is_there(
    run: tuple[RunFolder, ModelFiles], tmp_path: Path, kind: str
) -> None:
    folder, model = run
    where = str(tmp_path) if kind == "folder" else f"memory://{tmp_path.name}"
    registry = open_registry(where, cache=tmp_path / "cache")
    first = register(folder, registry, model)
    assert register(folder, registry, model) == first
    assert len(registry.list()) == 1


def test_an_adapter_that_changed_since_it_was_judged_is_refused(
    run: tuple[RunFolder, ModelFiles], tmp_path: Path
) -> None:
    folder, model = run
    config = folder.adapter / "adapter_config.json"
    kept = config.read_text()
    config.write_text(json.dumps({**json.loads(kept), "lora_alpha": 99}))
    try:
        with pytest.raises(TrainerError, match="not the adapter that was judged"):
            register(folder, Registry(tmp_path), model)
    finally:
        config.write_text(kept)
    assert Registry(tmp_path).list() == []


def test_another_base_is_refused(run: tuple[RunFolder, ModelFiles], tmp_path: Path) -> None:
    folder, model = run
    other = ModelFiles(model.path, "other", "0" * 64)
    with pytest.raises(TrainerError, match="--model"):
        register(folder, Registry(tmp_path), other)


def test_what_failed_its_gate_is_not_published_as_approved(
    run: tuple[RunFolder, ModelFiles], tmp_path: Path
) -> None:
    folder, model = run
    assert json.loads(folder.gate.read_text())["verdict"] != "pass"
    done = CliRunner().invoke(
        app,
        [
            "register",
            str(folder.root),
            "--registry",
            str(tmp_path / "registry"),
            "--approved",
            "--model",
            str(model.path),
        ],
    )
    assert done.exit_code == 2
    assert "candidate" in done.output
    assert not (tmp_path / "registry").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["register", str(tmp_path)])
    assert done.exit_code == 2
    assert str(tmp_path / "gate.json") in done.output.replace("\n", "")
