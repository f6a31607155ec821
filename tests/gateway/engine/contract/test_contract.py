"""What every engine promises (`gateway.engine.base`), asked of each over the same model."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import jsonschema
import pytest

from gateway.engine.base import Delta, FinishReason
from gateway.errors import AdapterRejected, BadInput, EngineFault
from tests.gateway.engine.contract.conftest import Subject
from tests.gateway.engine.real import MAX_LEN
from tests.gateway.engine.test_mixed_batches import alone

PROMPT = tuple(range(20, 40))
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["red", "blue"]}},
    "required": ["ok", "kind"],
    "additionalProperties": False,
}


def text(deltas: list[Delta], index: int = 0) -> str:
    return "".join(delta.text for delta in deltas if delta.index == index)


async def test_base_and_adapters_say_what_the_model_says_with_each_alone(subject: Subject) -> None:
    for adapter in (None, *subject.files.adapters):
        said = await subject.tokens(subject.request(PROMPT, adapter=adapter))
        assert said == alone(subject.files.model, adapter, PROMPT, 8)


async def test_the_text_is_that_of_the_tokens(subject: Subject) -> None:
    deltas = await subject.answer(subject.request(PROMPT, max_tokens=40))
    ids = [token for delta in deltas for token in delta.token_ids]
    whole = subject.engine.text.decode((*PROMPT, *ids))
    said = text(deltas)
    assert len(ids) == 40
    assert len(said) > 10
    # A character that the limit cuts off may be left out.
    assert whole.rstrip("\ufffd").endswith(said.rstrip("\ufffd"))


async def test_an_answer_ends_once_with_its_reason(subject: Subject) -> None:
    deltas = await subject.answer(subject.request(max_tokens=5))
    assert [delta.finish for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish is FinishReason.LENGTH


async def test_choices_with_one_seed_are_the_same_again_and_differ_among_each_other(
    subject: Subject,
) -> None:
    asked = subject.request(n=3, temperature=1.0, seed=7, max_tokens=12)
    first, again = await subject.answer(asked), await subject.answer(asked)
    said = [text(first, index) for index in range(3)]
    assert said == [text(again, index) for index in range(3)]
    assert len(set(said)) > 1
    assert sorted(d.index for d in first if d.finish) == [0, 1, 2]


async def test_choices_without_chance_are_alike(subject: Subject) -> None:
    deltas = await subject.answer(subject.request(n=2))
    assert text(deltas, 0) == text(deltas, 1) != ""


async def test_a_stop_string_ends_the_answer_and_is_not_shown(subject: Subject) -> None:
    whole = text(await subject.answer(subject.request(max_tokens=30)))
    stop = next(
        whole[at : at + 2]
        for at in range(4, len(whole) - 1)
        if "\ufffd" not in whole[at : at + 2] and whole[at].strip()
    )
    deltas = await subject.answer(subject.request(max_tokens=30, stop=(stop,)))
    assert text(deltas) == whole[: whole.index(stop)]
    assert deltas[-1].finish is FinishReason.STOP


async def test_every_token_has_its_probability_and_the_likeliest_beside_it(
    subject: Subject,
) -> None:
    deltas = await subject.answer(subject.request(logprobs=3))
    ids = [token for delta in deltas for token in delta.token_ids]
    scores = [score for delta in deltas for score in delta.logprobs]
    assert [score.token_id for score in scores] == ids
    for score in scores:
        assert score.logprob is not None
        assert score.logprob <= 0
        assert len(score.top) == 3
        values = [top.logprob for top in score.top]
        assert values == sorted(values, reverse=True)
        assert score.top[0].token_id == score.token_id  # greedy
        assert score.raw.decode(errors="replace") == score.text


async def test_a_prompt_is_scored_from_where_it_is_asked(subject: Subject) -> None:
    whole = await subject.answer(
        subject.request(PROMPT, max_tokens=0, prompt_logprobs=2, logprobs=2)
    )
    assert [delta.finish for delta in whole] == [FinishReason.LENGTH]
    scores = whole[0].prompt_logprobs or ()
    assert [score.token_id for score in scores] == list(PROMPT)
    assert scores[0].logprob is None
    assert all(score.logprob is not None for score in scores[1:])
    part = await subject.answer(
        subject.request(PROMPT, max_tokens=3, prompt_logprobs=0, prompt_logprobs_from=12)
    )
    rest = part[0].prompt_logprobs or ()
    assert [score.token_id for score in rest] == list(PROMPT[12:])
    for one, other in zip(rest, scores[12:], strict=True):
        assert one.logprob is not None
        assert other.logprob is not None
        assert math.isclose(one.logprob, other.logprob, abs_tol=1e-3)
    assert all(not delta.logprobs for delta in part)


async def test_adapters_score_prompts_too(subject: Subject) -> None:
    asked = subject.request(PROMPT, max_tokens=0, prompt_logprobs=0)
    base = await subject.answer(asked)
    tuned = await subject.answer(replace(asked, adapter=subject.files.adapters[0]))
    assert [s.logprob for s in base[0].prompt_logprobs or ()][1:] != pytest.approx(
        [s.logprob for s in tuned[0].prompt_logprobs or ()][1:], abs=1e-2
    )


async def test_nothing_asked_is_nothing_said(subject: Subject) -> None:
    deltas = await subject.answer(subject.request(max_tokens=0, n=2))
    assert [(d.text, d.token_ids, d.finish) for d in deltas] == [("", (), FinishReason.LENGTH)] * 2


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_schema_holds_whatever_the_model_would_say(subject: Subject, seed: int) -> None:
    subject.engine.check_schema(SCHEMA)
    deltas = await subject.answer(
        subject.request(
            json_schema=SCHEMA, max_tokens=60, temperature=1.0, seed=seed, ignore_eos=False
        )
    )
    assert deltas[-1].finish is FinishReason.STOP
    jsonschema.validate(json.loads(text(deltas)), SCHEMA)


async def test_what_is_no_schema_is_refused_before_it_runs(subject: Subject) -> None:
    with pytest.raises(BadInput):
        subject.engine.check_schema({"type": "nothing"})
    with pytest.raises(BadInput):
        subject.engine.generate(subject.request(json_schema={"type": "nothing"}))


@pytest.mark.parametrize(
    ("prompt", "tokens"), [((), 4), ((999_999,), 4), ((-1,), 4), (tuple(range(9)), MAX_LEN)]
)
async def test_what_can_never_run_is_refused_at_once(
    subject: Subject, prompt: tuple[int, ...], tokens: int
) -> None:
    with pytest.raises(BadInput):
        subject.engine.generate(subject.request(prompt, max_tokens=tokens))


async def test_a_cancelled_answer_ends_as_such_and_others_go_on(subject: Subject) -> None:
    long = subject.engine.generate(subject.request(max_tokens=200))
    deltas: list[Delta] = []
    async for delta in long:
        deltas.append(delta)
        if len(deltas) == 2:
            long.cancel()
            long.cancel()
    assert deltas[-1].finish is FinishReason.CANCELLED
    assert len(deltas) < 200
    assert await subject.tokens(subject.request(PROMPT, max_tokens=3)) == alone(
        subject.files.model, None, PROMPT, 3
    )


async def test_a_resident_adapter_is_told_of_and_a_foreign_one_refused(subject: Subject) -> None:
    one = subject.files.adapters[0]
    subject.engine.set_pinned({one.digest})
    await subject.engine.make_resident(one)
    assert one.digest in subject.engine.stats().resident_adapters
    assert subject.engine.stats().pinned_adapters == (one.digest,)
    foreign = replace(one, base_fingerprint="0" * 64, digest="1" * 64)
    with pytest.raises(AdapterRejected, match="trained on base 0000"):
        subject.engine.check_adapter(foreign)
    with pytest.raises(AdapterRejected):
        await subject.engine.make_resident(foreign)


async def test_background_work_is_done_too(subject: Subject) -> None:
    asked = replace(subject.request(PROMPT), background=True)
    assert await subject.tokens(asked) == alone(subject.files.model, None, PROMPT, 8)


async def test_a_closed_engine_takes_nothing(subject: Subject) -> None:
    await subject.engine.close()
    with pytest.raises(EngineFault):
        subject.engine.generate(subject.request())
