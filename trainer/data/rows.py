"""Rows of messages to token rows whose loss is on the answer alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.errors import DataError

IGNORED = -100  # the label torch's cross entropy leaves out


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation whose last message is the answer to learn."""

    prompt: tuple[dict[str, str], ...]
    answer: str
    ended: bool = True  # False: the answer was cut, its end is not to be learnt


@dataclass(frozen=True, slots=True)
class TokenRow:
    tokens: tuple[int, ...]
    prompt_len: int  # tokens that carry no loss


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded token rows: all three [rows, longest]."""

    tokens: Tensor
    mask: Tensor
    labels: Tensor  # IGNORED on prompts and padding


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file. Raises DataError with file and line."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            item = json.loads(line)
            messages = item["messages"]
            last = messages[-1]
            if last["role"] != "assistant" or len(messages) < 2:
                raise DataError(f"{path}:{number}: the last message must be the assistant's answer")
            rows.append(Row(tuple(messages[:-1]), last["content"], item.get("ended", True)))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(f'{path}:{number}: not a row {{"messages": [...]}}: {error}') from None
    return rows


def tokenize(row: Row, tokenizer: Any) -> TokenRow:
    """The chat template's rendering of `row`; the loss starts with the answer's first token."""
    prompt = tokenizer.apply_chat_template(
        list(row.prompt), tokenize=False, add_generation_prompt=True
    )
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(row.answer, add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id] if row.ended else []
    return TokenRow((*prompt_ids, *answer_ids, *end), len(prompt_ids))


def tokenize_all(
    rows: Sequence[Row], tokenizer: Any, max_tokens: int
) -> tuple[list[TokenRow], int]:
    """Token rows of at most `max_tokens`, and how many were longer and are left out."""
    made = [tokenize(row, tokenizer) for row in rows]
    fitting = [row for row in made if len(row.tokens) <= max_tokens]
    return fitting, len(made) - len(fitting)


def collate(rows: Sequence[TokenRow], pad: int) -> Batch:
    """Pad `rows` to one length."""
    longest = max(len(row.tokens) for row in rows)
    tokens = torch.full((len(rows), longest), pad)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED)
    for i, row in enumerate(rows):
        ids = torch.tensor(row.tokens)
        tokens[i, : len(ids)] = ids
        mask[i, : len(ids)] = 1
        labels[i, row.prompt_len : len(ids)] = ids[row.prompt_len :]
    return Batch(tokens, mask, labels)


def batches(
    target: Sequence[TokenRow],
    anchors: Sequence[TokenRow],
    *,
    anchor_share: float,
    batch_size: int,
    pad: int,
    seed: int,
) -> Iterator[Batch]:
    """Endless batches; each source is shuffled anew whenever it has been gone through."""
    rng = random.Random(seed)
    sources = (_endless(target, rng), _endless(anchors, rng))
    while True:
        picked = [
            next(sources[1] if anchors and rng.random() < anchor_share else sources[0])
            for _ in range(batch_size)
        ]
        yield collate(picked, pad)


def _endless(rows: Sequence[TokenRow], rng: random.Random) -> Iterator[TokenRow]:
    while True:
        order = list(rows)
        rng.shuffle(order)
        yield from order
