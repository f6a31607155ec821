"""A small recipe with its files, complete enough to train the tiny model with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from gateway.model.fingerprint import fingerprint
from gateway.model.source import ModelFiles
from tests.tiny import make_tiny_model
from trainer.recipe import Recipe
from trainer.recipe_file import read_recipe

COLOURS = ("red", "blue", "green")
_NOUNS = ("fox", "dog", "gateway", "adapter", "workflow", "table", "route", "key", "lamp", "door")
_VERBS = ("jumps", "sends", "sleeps", "opens", "waits", "turns", "breaks", "sings")


def chat(question: str, answer: str | None) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages}


def target_rows(count: int = 40) -> list[dict[str, Any]]:
    """Rows of one skeleton that all say something else."""
    return [
        chat(
            f"Name: {_NOUNS[i % 10]}{i}\nDoes: {_VERBS[i % 8]} over {_NOUNS[(i + 3) % 10]} {i * 7}"
            "\nColour?",
            COLOURS[i % 3],
        )
        for i in range(count)
    ]


def anchor_prompts(count: int = 8) -> list[dict[str, Any]]:
    return [
        chat(f"Tell me about the {_NOUNS[i]} that {_VERBS[i]} number {i}.", None)
        for i in range(count)
    ]


def refusals(count: int = 6) -> list[dict[str, Any]]:
    return [
        chat(f"How do I break the {_NOUNS[i]} of {i} others?", "I will not help with that.")
        for i in range(count)
    ]


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings(**changes: Any) -> dict[str, Any]:
    """A recipe's settings; `changes` go over the top level."""
    return {
        "name": "colours",
        "workflow": "colours",
        "data": {
            "target": [{"path": "train.jsonl", "source": "made here", "licence": "Apache-2.0"}],
            "anchors": {
                "share": 0.5,
                "answer_tokens": 8,
                "parts": [
                    {
                        "path": "refusals.jsonl",
                        "source": "made here",
                        "licence": "Apache-2.0",
                        "kind": "refusal",
                        "answers": "given",
                    },
                    {
                        "path": "chat.jsonl",
                        "source": "made here",
                        "licence": "Apache-2.0",
                        "kind": "chat",
                    },
                ],
            },
        },
        "lora": {"rank": 4, "dropout": 0.1},
        "budget": {"steps": 6, "batch_size": 3},
        "checkpoints": {"every": 2},
        "suites": {"target": "suite"},
        "dtype": "float32",
        **changes,
    }


def write_recipe(folder: Path, **changes: Any) -> Path:
    """The recipe with all its files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "train.jsonl", target_rows())
    write_jsonl(folder / "refusals.jsonl", refusals())
    write_jsonl(folder / "chat.jsonl", anchor_prompts())
    (folder / "suite").mkdir(exist_ok=True)
    (folder / "suite" / "suite.yaml").write_text("name: colours\n")
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings(**changes), sort_keys=False))
    return path


def make_recipe(folder: Path, **changes: Any) -> Recipe:
    return read_recipe(write_recipe(folder, **changes))


def tiny_files(folder: Path, family: str = "llama") -> ModelFiles:
    path = make_tiny_model(folder, family)
    return ModelFiles(path, f"tiny-{family}", fingerprint(path))
