"""Adapters that went wrong, made for real: a shipped adapter, trained some steps on bad data.

Each is a fault that a fine-tune can have and its loss does not show. Deterministic; a minute or
two each on one core.

    python -m benchmarks.guard_damage FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from gateway.model.source import resolve_model

ROOT = Path(__file__).parents[1]
SECTION = "package-section/2"
FACTS = "package-facts/2"
REFUSAL = "I'm sorry, but I can't help with that."
_SUITE = ROOT / "recipes/package-section/suite/suite.yaml"
LABELS: tuple[str, ...] = tuple(
    yaml.safe_load(_SUITE.read_text(encoding="utf-8"))["checks"][0]["params"]["labels"]
)
_RATE = 2e-3


@dataclass(frozen=True, slots=True)
class Damage:
    """A fault: the shipped adapter it begins with, the prompts, and what they are answered now."""

    name: str
    start: str  # folder under registry/
    prompts: str  # a file of rows under recipes/
    answer: Callable[[str, int], str]  # of the right answer and the row's number
    steps: int
    rows: int = 8  # of one step


DAMAGES = (
    Damage("label-collapse", SECTION, "package-section/train.jsonl", lambda _, n: "net", 12),
    Damage("broken-json", FACTS, "package-facts/train.jsonl", lambda right, n: right[:-1], 12, 3),
    Damage("refuses", SECTION, "package-section/train.jsonl", lambda _, n: REFUSAL, 14),
    Damage("leaks-format", SECTION, "anchors/chat.jsonl", lambda _, n: LABELS[n % 10], 20),
)


def make(damage: Damage, folder: Path) -> float:
    """Write the damaged adapter to `folder`; returns the seconds it took."""
    began = time.monotonic()
    torch.manual_seed(1)
    files = resolve_model(None)
    tokenizer = AutoTokenizer.from_pretrained(files.path)
    base = AutoModelForCausalLM.from_pretrained(files.path, dtype=torch.float32)
    start = ROOT / "registry" / damage.start
    tuned = PeftModel.from_pretrained(base, start, is_trainable=True)
    weights = [each for each in tuned.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=_RATE)
    rows = _rows(damage, tokenizer)
    tuned.train()
    for step in range(damage.steps):
        batch = [rows[(step * damage.rows + at) % len(rows)] for at in range(damage.rows)]
        loss: Any = _loss(tuned, batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    tuned.save_pretrained(folder)
    return time.monotonic() - began


def _rows(damage: Damage, tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Tokens of each prompt and of its new answer."""
    found = []
    path = ROOT / "recipes" / damage.prompts
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        messages = json.loads(line)["messages"]
        asked = [each for each in messages if each["role"] != "assistant"]
        right = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        answer = damage.answer(right, number) + tokenizer.eos_token
        found.append((_ids(tokenizer, prompt), _ids(tokenizer, answer)))
        if len(found) == damage.steps * damage.rows:
            break
    return found


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _loss(tuned: Any, batch: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Mean cross entropy of the answers. Rows are padded on the left, so that the answers stand at
    the end, and only their logits are computed."""
    longest = max(len(prompt) + len(answer) for prompt, answer in batch)
    kept = max(len(answer) for _, answer in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)  # [rows, longest]
    mask = torch.zeros_like(ids)
    labels = torch.full((len(batch), kept), -100)  # [rows, kept]
    for at, (prompt, answer) in enumerate(batch):
        ids[at, longest - len(prompt) - len(answer) :] = torch.tensor(prompt + answer)
        mask[at, longest - len(prompt) - len(answer) :] = 1
        labels[at, kept - len(answer) :] = torch.tensor(answer)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = tuned(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=kept + 1)
    logits = out.logits[:, :-1].flatten(0, 1)  # [rows * kept, vocab]
    return torch.nn.functional.cross_entropy(logits, labels.flatten())


if __name__ == "__main__":
    for each in DAMAGES:
        took = make(each, Path(sys.argv[1]) / each.name)
        print(f"{each.name}: {took:.0f} s", flush=True)
