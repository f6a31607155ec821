"""The requests that lm-eval's `local-completions` sends, scored as it scores them, against the
model itself in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.gateway.conftest import World

# Context and continuation as token ids: lm-eval tokenises and sends ids, in batches.
PAIRS = [
    ((5, 9, 20), (31, 7)),
    ((40, 2, 300, 12, 77), (8,)),
    ((100,), (60, 61, 62, 63, 64, 65)),
    ((350, 340, 330), (320, 310)),
]


def expected(model: Any, context: tuple[int, ...], continuation: tuple[int, ...]) -> Any:
    """Summed log-probability of the continuation, and whether it is the greedy one."""
    ids = torch.tensor([context + continuation])
    with torch.inference_mode():
        scores = torch.log_softmax(model(ids).logits[0].float(), dim=-1)
    rows = scores[len(context) - 1 : -1]
    targets = torch.tensor(continuation)
    greedy = bool((rows.argmax(dim=-1) == targets).all())
    return float(rows.gather(1, targets[:, None]).sum()), greedy


def scored(choice: dict[str, Any], context_length: int) -> tuple[float, bool]:
    """As lm-eval reads it: the last token is the generated one, and is left out."""
    logprobs = choice["logprobs"]
    chosen = logprobs["token_logprobs"][context_length:-1]
    top = logprobs["top_logprobs"][context_length:-1]
    return sum(chosen), all(
        one == max(best.values()) for one, best in zip(chosen, top, strict=True)
    )


async def post(world: World, **body: Any) -> dict[str, Any]:
    # What an HTTP server sees of the empty `Bearer ` that lm-eval sends without a key.
    headers = {"authorization": "Bearer"}
    async with httpx.AsyncClient(base_url=world.inference, timeout=60, headers=headers) as http:
        answer = await http.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()
    return data


@pytest.fixture(scope="module")
def models(tiny_files: Path) -> dict[str, Any]:
    """The base and its tuned form, as transformers and peft run them."""
    path = tiny_files / "model"
    base = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    inner = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(inner, tiny_files / "registry" / "triage" / "1").eval()
    return {"base": base, "triage": tuned}


@pytest.mark.parametrize("workflow", ["base", "triage"])
async def test_loglikelihood_is_the_models_own(
    world: World, models: dict[str, Any], workflow: str
) -> None:
    data = await post(
        world,
        model=workflow,
        prompt=[[*context, *continuation] for context, continuation in PAIRS],
        temperature=0,
        max_tokens=1,
        logprobs=1,
        seed=1234,
        echo=True,
    )
    choices = sorted(data["choices"], key=lambda choice: choice["index"])
    assert len(choices) == len(PAIRS)
    for (context, continuation), choice in zip(PAIRS, choices, strict=True):
        value, greedy = expected(models[workflow], context, continuation)
        found, is_greedy = scored(choice, len(context))
        assert found == pytest.approx(value, abs=1e-3)
        assert is_greedy == greedy


async def test_a_greedy_continuation_is_seen_as_greedy(
    world: World, models: dict[str, Any]
) -> None:
    context = (5, 9, 20)
    ids = torch.tensor([context])
    with torch.inference_mode():
        continuation = int(models["base"](ids).logits[0, -1].argmax())
    body = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1, "echo": True}
    data = await post(world, model="base", prompt=[[*context, continuation]], **body)
    assert scored(data["choices"][0], len(context))[1]


async def test_a_prompt_whose_next_token_is_the_end_is_scored_whole(
    world: World, models: dict[str, Any]
) -> None:
    """The generated token is left out by count, so that it must be there also where it ends."""
    engine = world.engine
    prompt = [5, 9, 20, 31]
    with torch.inference_mode():
        following = int(models["base"](torch.tensor([prompt])).logits[0, -1].argmax())
    engine.text.eos_ids = frozenset({following})
    body = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1, "echo": True}
    data = await post(world, model="base", prompt=[prompt], **body)
    choice = data["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert len(choice["logprobs"]["token_logprobs"]) == len(prompt) + 1
    value, _ = expected(models["base"], (5, 9), (20, 31))
    assert scored(choice, 2)[0] == pytest.approx(value, abs=1e-3)


async def test_generate_until_is_the_greedy_text_up_to_the_stop(
    world: World, models: dict[str, Any]
) -> None:
    prompts = [[5, 9, 20], [40, 2, 300, 12]]
    text = world.gateway.engine.text
    whole = []
    for prompt in prompts:
        ids = models["base"].generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0
        )[0]
        whole.append(text.decode(ids[len(prompt) :].tolist()))
    body = {"model": "base", "prompt": prompts, "max_tokens": 12, "temperature": 0, "seed": 1234}
    data = await post(world, **body, stop=["\n\n", "<|im_end|>"])
    assert [c["text"] for c in data["choices"]] == [t.split("\n\n")[0] for t in whole]
    stop = whole[0].strip("\ufffd")[3:5]
    data = await post(world, **body, stop=[stop, "<|im_end|>"])
    assert data["choices"][0]["text"] == whole[0].split(stop)[0]
