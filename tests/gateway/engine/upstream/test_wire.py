"""What goes to each kind of server, and what is made of its events."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.base import FinishReason, GenerationRequest, SamplingParams
from gateway.engine.detokenize import TokenTexts
from gateway.engine.text import HuggingFaceText
from gateway.engine.upstream.dialect import DIALECTS, Reader
from gateway.engine.upstream.faults import Fault, ServerFault
from gateway.engine.upstream.naming import name_of
from gateway.engine.upstream.options import DialectName
from gateway.errors import BadInput
from tests.gateway.engine.upstream.conftest import Files

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
NAME = name_of("0" * 64)


@pytest.fixture(scope="module")
def text(upstream_files: Files) -> HuggingFaceText:
    return HuggingFaceText(upstream_files.model)


def request(n: int = 1, **sampling: Any) -> GenerationRequest:
    usual: dict[str, Any] = {"max_tokens": 4, "temperature": 0.5}
    return GenerationRequest("r", (5, 6, 7, 8), SamplingParams(**(usual | sampling)), None, n)


def reader(
    text: HuggingFaceText, asked: GenerationRequest, dialect: DialectName = "vllm"
) -> Reader:
    return DIALECTS[dialect].reader(asked, "tiny", NAME, text, TokenTexts(text.tokenizer))


def event(*choices: dict[str, Any], model: str = NAME) -> bytes:
    return json.dumps({"model": model, "choices": list(choices)}).encode()


def choice(index: int = 0, said: str = "x", ids: tuple[int, ...] = (9,), **more: Any) -> Any:
    plain = {"index": index, "text": said, "token_ids": list(ids), "finish_reason": None}
    return plain | {"stop_reason": None, "logprobs": None} | more


def test_a_body_states_every_setting_so_that_no_default_of_the_server_applies(
    text: HuggingFaceText,
) -> None:
    asked = request(2, seed=3, stop=("END",), frequency_penalty=0.5, top_p=0.9)
    body = DIALECTS["vllm"].body(asked, "tiny", NAME, text)
    assert body == {
        "model": NAME,
        "prompt": [5, 6, 7, 8],
        "stream": True,
        "n": 2,
        "max_tokens": 4,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "frequency_penalty": 0.5,
        "presence_penalty": 0.0,
        "ignore_eos": False,
        "return_token_ids": True,
        "seed": 3,
        "stop": ["END"],
    }
    assert DIALECTS["vllm"].body(asked, "tiny", None, text)["model"] == "tiny"


def test_each_kind_of_server_is_told_of_adapter_and_schema_in_its_way(
    text: HuggingFaceText,
) -> None:
    asked = request(json_schema=SCHEMA)
    vllm = DIALECTS["vllm"].body(asked, "tiny", NAME, text)
    assert vllm["structured_outputs"] == {"json": SCHEMA}
    sglang = DIALECTS["sglang"].body(asked, "tiny", NAME, text)
    assert (sglang["model"], sglang["lora_path"]) == ("tiny", NAME)
    assert sglang["response_format"]["json_schema"]["schema"] == SCHEMA
    lorax = DIALECTS["lorax"].body(asked, "tiny", "/held/0000", text)
    assert lorax["inputs"] == text.decode_all([5, 6, 7, 8])
    assert lorax["parameters"]["adapter_id"] == "/held/0000"
    assert lorax["parameters"]["adapter_source"] == "local"
    assert lorax["parameters"]["response_format"]["schema"] == SCHEMA
    assert lorax["parameters"]["do_sample"] is True


@pytest.mark.parametrize("dialect", ["sglang", "lorax"])
def test_what_a_kind_of_server_cannot_do_is_refused(dialect: DialectName) -> None:
    with pytest.raises(BadInput, match="no probabilities of a prompt"):
        DIALECTS[dialect].check(request(prompt_logprobs=1))


def test_lorax_gives_one_choice_where_chance_makes_them_differ() -> None:
    with pytest.raises(BadInput, match="one choice"):
        DIALECTS["lorax"].check(request(2))
    DIALECTS["lorax"].check(request(2, temperature=0.0))


def test_events_become_deltas_until_every_choice_has_ended(text: HuggingFaceText) -> None:
    events = reader(text, request(2))
    (first,) = events.take(event(choice(1, "b", (10,))))
    assert (first.index, first.text, first.token_ids, first.finish) == (1, "b", (10,), None)
    events.take(event(choice(1, "", (), finish_reason="length")))
    complete = [events.complete]
    (last,) = events.take(event(choice(0, "a", (9,), finish_reason="length")))
    assert last.finish is FinishReason.LENGTH
    assert [*complete, events.complete] == [False, True]
    assert events.take(b"[DONE]") == []


def test_the_token_that_ends_an_answer_is_left_out_and_one_of_a_stop_string_is_not(
    text: HuggingFaceText,
) -> None:
    (end,) = text.eos_ids
    ended = choice(said="x", ids=(9, end), finish_reason="stop")
    assert reader(text, request()).take(event(ended))[0].token_ids == (9,)
    stopped = choice(said="x", ids=(9, 11), finish_reason="stop", stop_reason="END")
    assert reader(text, request()).take(event(stopped))[0].token_ids == (9, 11)


def test_scores_of_prompt_and_answer_come_in_one_list_and_are_cut_to_what_was_asked(
    text: HuggingFaceText,
) -> None:
    asked = request(prompt_logprobs=2, prompt_logprobs_from=2, logprobs=1, max_tokens=1)
    tokens = ["token_id:5", "token_id:6", "token_id:7", "token_id:8", "token_id:353"]
    scores = {
        "tokens": tokens,
        "token_logprobs": [None, -8.6, -5.4, -4.5, -3.3],
        "top_logprobs": [
            None,
            {"token_id:6": -8.6, "token_id:27": -2.4},
            {"token_id:7": -5.4, "token_id:192": -2.8, "token_id:305": -3.0},
            {"token_id:8": -4.5, "token_id:117": -3.3, "token_id:192": -3.4},
            {"token_id:353": -3.3, "token_id:27": -3.8},
        ],
    }
    said = choice(said="y", ids=(353,), logprobs=scores, finish_reason="length")
    (delta,) = reader(text, asked).take(event(said))
    prompt = delta.prompt_logprobs or ()
    assert [(one.token_id, one.logprob) for one in prompt] == [(7, -5.4), (8, -4.5)]
    assert [[top.token_id for top in one.top] for one in prompt] == [[192, 305], [117, 192]]
    assert [(one.token_id, one.logprob) for one in delta.logprobs] == [(353, -3.3)]
    assert [top.token_id for top in delta.logprobs[0].top] == [353]


def test_a_prompt_alone_is_scored_without_the_token_that_the_server_must_make(
    text: HuggingFaceText,
) -> None:
    scores = {
        "tokens": ["token_id:5", "token_id:6", "token_id:7", "token_id:8"],
        "token_logprobs": [None, -1.0, -2.0, -3.0],
        "top_logprobs": [None, {}, {}, {}],
    }
    said = choice(said="", ids=(353,), logprobs=scores, finish_reason="length")
    (delta,) = reader(text, request(max_tokens=0, prompt_logprobs=0)).take(event(said))
    assert (delta.text, delta.token_ids, delta.logprobs) == ("", (), ())
    assert delta.finish is FinishReason.LENGTH
    assert [one.token_id for one in delta.prompt_logprobs or ()] == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (event(choice(), model="tiny"), Fault.WRONG_MODEL),
        (b'{"error": {"message": "dead", "code": 500}}', Fault.BROKEN),
        (b'{"error": {"message": "full", "code": 503}}', Fault.FULL),
        (b'{"error": {"message": "bad", "code": 400}}', Fault.BROKEN),
        (b"not json", Fault.BROKEN),
        (b"[]", Fault.BROKEN),
        (event(choice(7)), Fault.BROKEN),
        (event(choice(finish_reason="abort")), Fault.BROKEN),
    ],
)
def test_what_is_no_answer_is_a_fault(text: HuggingFaceText, data: bytes, fault: Fault) -> None:
    with pytest.raises(ServerFault) as caught:
        reader(text, request()).take(data)
    assert caught.value.fault is fault


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "index", "text", "token_ids", "error", "model", "token"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(_JSON, st.sampled_from(sorted(DIALECTS)))
def test_no_event_whatever_breaks_more_than_its_request(
    text: HuggingFaceText, said: Any, dialect: DialectName
) -> None:
    made = reader(text, request(logprobs=1), dialect)
    with contextlib.suppress(ServerFault):
        made.take(json.dumps(said).encode())


def test_lorax_events_become_deltas(text: HuggingFaceText) -> None:
    events = reader(text, request(logprobs=0), "lorax")
    token = {"id": 9, "text": "x", "logprob": -0.5, "special": False}
    (delta,) = events.take(json.dumps({"token": token, "generated_text": None}).encode())
    assert (delta.text, delta.token_ids, delta.finish) == ("x", (9,), None)
    assert delta.logprobs[0].logprob == -0.5
    (end,) = text.eos_ids
    last = {
        "token": {"id": end, "text": "</s>", "logprob": -0.1, "special": True},
        "generated_text": "x",
        "details": {"finish_reason": "eos_token"},
    }
    (delta,) = events.take(json.dumps(last).encode())
    assert (delta.text, delta.token_ids, delta.finish) == ("", (), FinishReason.STOP)
    assert events.complete


def test_a_refusal_that_names_the_adapter_is_a_missing_one() -> None:
    refused = DIALECTS["sglang"].refusal(400, "LoRA adapter x has never been loaded", "http://s")
    assert refused.fault is Fault.MISSING
    assert DIALECTS["vllm"].refusal(404, "The model x does not exist", "s").fault is Fault.MISSING
    assert DIALECTS["vllm"].refusal(400, "too long", "s").fault is Fault.REFUSED
    assert DIALECTS["vllm"].refusal(429, "full", "s", "4").retry_after_s == 4
