"""Self-anchors: the base model's own greedy answers to the anchor prompts.

Made once through the engine the gateway serves with, kept in the run's folder with the prompt and
the base they belong to, and used again by a resumed run. The engine is closed before it returns.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.engine.base import FinishReason, GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.model.source import ModelFiles
from trainer.data.rows import Row
from trainer.whole_files import write_text

Said = Callable[[str], None]


def answer_by_base(
    rows: Sequence[Row],
    model: ModelFiles,
    kept: Path,
    *,
    answer_tokens: int,
    max_tokens: int,
    say: Said = lambda _: None,
) -> list[Row]:
    """`rows` with the base's answers of at most `answer_tokens`, the whole row within
    `max_tokens`. What `kept` already holds for the same prompt and base is not asked again."""
    known = _read(kept, model.fingerprint, answer_tokens)
    missing = [row for row in rows if _prompt(row) not in known]
    if missing:
        say(f"the base model answers {len(missing)} anchor prompts")
        made = asyncio.run(_ask(missing, model, answer_tokens, max_tokens))
        known |= {_prompt(row): (row.answer, row.ended) for row in made}
        lines = [
            {
                "id": row.id,
                "prompt": list(row.prompt),
                "base": model.fingerprint,
                "answer_tokens": answer_tokens,
                "answer": known[_prompt(row)][0],
                "ended": known[_prompt(row)][1],
            }
            for row in rows
        ]
        write_text(kept, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return [
        replace(row, answer=known[_prompt(row)][0], ended=known[_prompt(row)][1]) for row in rows
    ]


async def _ask(
    rows: Sequence[Row], model: ModelFiles, answer_tokens: int, max_tokens: int
) -> list[Row]:
    engine = await asyncio.to_thread(
        EmbeddedEngine,
        model.path,
        name=model.name,
        fingerprint=model.fingerprint,
        options=EngineOptions(max_queue=len(rows) + 1, max_len=max_tokens, slots=1),
    )
    engine.start()
    try:
        return list(
            await asyncio.gather(*(_one(engine, row, answer_tokens, max_tokens) for row in rows))
        )
    finally:
        await engine.close()


async def _one(engine: EmbeddedEngine, row: Row, answer_tokens: int, max_tokens: int) -> Row:
    prompt = tuple(engine.text.encode_chat(row.prompt))
    # One token of room for the end that training adds.
    limit = min(answer_tokens, max_tokens - len(prompt) - 1)
    if limit < 1:
        return replace(row, answer="", ended=False)
    sampling = SamplingParams(max_tokens=limit, temperature=0)
    text, finish = [], FinishReason.LENGTH
    async for delta in engine.generate(GenerationRequest(row.id, prompt, sampling)):
        text.append(delta.text)
        finish = delta.finish or finish
    # A cut answer must not teach the model to stop in mid-sentence.
    return replace(row, answer="".join(text), ended=finish is FinishReason.STOP)


def _prompt(row: Row) -> str:
    return json.dumps(list(row.prompt), sort_keys=True, ensure_ascii=False)


def _read(path: Path, base: str, answer_tokens: int) -> dict[str, tuple[str, bool]]:
    """The kept answers that fit; none where the file is missing or another run's."""
    if not path.is_file():
        return {}
    found: dict[str, tuple[str, bool]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        kept: dict[str, Any] = json.loads(line)
        if (kept["base"], kept["answer_tokens"]) == (base, answer_tokens):
            key = json.dumps(kept["prompt"], sort_keys=True, ensure_ascii=False)
            found[key] = (kept["answer"], kept["ended"])
    return found
