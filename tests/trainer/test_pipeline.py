"""A whole run leaves a choice and a verdict on other items, and goes on after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.trainer.worked import COLOURS, chat, target_rows, tiny_files, write_jsonl, write_recipe
from trainer.candidates import Plan, plan
from trainer.choice import read_choice
from trainer.evals.results import read_evaluation
from trainer.evals.values import Split
from trainer.folder import RunFolder
from trainer.gate.codec import read_verdict
from trainer.pipeline import Run, further
from trainer.recipe_file import read_recipe

DEADLINE_S = 200


def write_suite(folder: Path, kind: str, items: list[object], **check: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "items.jsonl", items)
    settings = {
        "name": folder.name,
        "kind": kind,
        "family": folder.name,
        "description": "made for a test",
        "source": "made here",
        "licence": "Apache-2.0",
        "items": "items.jsonl",
        "checks": [check],
        "generation": {"max_tokens": 6},
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(settings))


def whole_recipe(folder: Path) -> Path:
    """A recipe with a target suite and a guardrail suite that the tiny model can be asked."""
    write_suite(
        folder / "colours",
        "target",
        [
            {"messages": row["messages"][:1], "expected": COLOURS[i % 3]}
            for i, row in enumerate(target_rows(90)[60:])
        ],
        check="label",
        params={"labels": list(COLOURS)},
    )
    write_suite(
        folder / "chatter",
        "guardrail",
        [chat(f"What is behind door {i}, say it in {i + 3} words", None) for i in range(24)],
        check="repetition",
        margin=0.2,
    )
    return write_recipe(
        folder,
        suites={"target": "colours", "guardrails": ["chatter"]},
        checkpoints={"every": 3, "patience": 3},
        choice={"strengths": [1.0, 0.5], "more": 3},
    )


def test_the_most_promising_candidates_are_tried_first() -> None:
    gains = {10: 0.2, 20: 0.6, 30: 0.5}
    tried = further(plan(list(gains), (1.0, 0.75, 0.5), averages=True), gains, 5)
    assert tried == [
        Plan((20,), 0.75),
        Plan((20,), 0.5),
        Plan((10, 20), 1.0),
        Plan((20, 30), 1.0),
        Plan((30,), 0.75),
    ]


def test_checkpoints_as_trained_are_not_tried_again() -> None:
    tried = further(plan([10, 20], (1.0, 0.5), averages=False), {10: 0.1, 20: 0.2}, 99)
    assert tried == [Plan((20,), 0.5), Plan((10,), 0.5)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, RunFolder]:
    root = tmp_path_factory.mktemp("whole")
    model = tiny_files(root / "model")
    recipe = whole_recipe(root / "recipe")
    folder = RunFolder(root / "run")
    assert Run(read_recipe(recipe), model, folder).execute() is not None
    return recipe, model.path, folder


def test_every_checkpoint_and_more_are_chosen_from_and_the_choice_is_the_adapter(
    whole: tuple[Path, Path, RunFolder],
) -> None:
    *_, folder = whole
    choice = read_choice(folder.choice)
    names = [considered.score.name for considered in choice.candidates]
    assert names[:2] == ["step-00003@1", "step-00006@1"]
    assert len(names) == 5
    chosen = folder.candidate(choice.chosen) / "adapter_model.safetensors"
    assert (folder.adapter / chosen.name).read_bytes() == chosen.read_bytes()


def test_the_verdict_is_on_items_that_nothing_was_chosen_by(
    whole: tuple[Path, Path, RunFolder],
) -> None:
    *_, folder = whole
    choice = read_choice(folder.choice)
    select = read_evaluation(folder.evaluation(Split.SELECT, choice.chosen))
    gate = read_evaluation(folder.evaluation(Split.GATE, choice.chosen))
    seen, judged = (
        {(suite.suite, item.id) for suite in evaluation.suites for item in suite.items}
        for evaluation in (select, gate)
    )
    assert seen
    assert judged
    assert not seen & judged
    verdict = read_verdict(folder.gate)
    assert verdict.target[0].items + verdict.guardrails[0].items == len(judged)


def test_a_run_killed_in_any_part_ends_with_the_same_verdict(
    whole: tuple[Path, Path, RunFolder], tmp_path: Path
) -> None:
    recipe, model, expected = whole
    killed = RunFolder(tmp_path / "killed")
    command = [sys.executable, "-m", "tests.trainer.whole_run"]
    first = read_choice(expected.choice).candidates[0].score.name
    # In the evaluation of the first checkpoint, and between the choice and its verdict.
    moments = (killed.candidate(first), killed.choice)
    deadline = time.monotonic() + DEADLINE_S
    for moment in moments:
        process = subprocess.Popen([*command, str(recipe), str(model), str(killed.root)])
        while not moment.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not killed.gate.exists()
    done = subprocess.run(
        [*command, str(recipe), str(model), str(killed.root)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stdout.strip().endswith("done"), done.stderr
    assert json.loads(killed.gate.read_text()) == json.loads(expected.gate.read_text())
    assert killed.choice.read_text() == expected.choice.read_text()
