"""What an engine server answers, and by whom; and what it refuses."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.engine.upstream.naming import name_of
from gateway.registry.store import Registry
from tests import tiny
from tests.gateway.engine.real import Files
from tests.gateway.engine_server.conftest import Serve, Served, events, text_of


async def test_each_model_answers_under_its_own_name(served: Served, contract_files: Files) -> None:
    said = {}
    for adapter in contract_files.adapters:
        assert (await served.load(adapter)).status_code == 200
    names = [name_of(adapter.digest) for adapter in contract_files.adapters]
    assert await served.listed() == ["tiny", *names]
    for name in ("tiny", *names):
        answer = await served.ask(model=name, max_tokens=8)
        assert {one["model"] for one in events(answer.text)[:-1]} == {name}
        said[name] = text_of(answer)
    assert len(set(said.values())) == 3


async def test_a_load_again_is_no_fault(served: Served, contract_files: Files) -> None:
    one = contract_files.adapters[0]
    for _ in range(2):
        assert (await served.load(one)).status_code == 200
    assert (await served.listed()).count(name_of(one.digest)) == 1


async def test_what_was_unloaded_is_not_answered_by_the_base(
    served: Served, contract_files: Files
) -> None:
    one = contract_files.adapters[0]
    name = name_of(one.digest)
    await served.load(one)
    body = {"lora_name": name}
    assert (await served.http.post("/v1/unload_lora_adapter", json=body)).status_code == 200
    assert (await served.http.post("/v1/unload_lora_adapter", json=body)).status_code == 404
    assert await served.listed() == ["tiny"]
    answer = await served.ask(model=name)
    assert answer.status_code == 404
    assert name in answer.json()["error"]["message"]


async def test_an_adapter_whose_files_are_gone_is_said_to_be_missing(
    serve: Serve, contract_files: Files, tmp_path: Path
) -> None:
    served = await serve(slots=1, host_bytes=0)
    one, other = contract_files.adapters
    moved = replace(one, path=Path(shutil.copytree(one.path, tmp_path / "moved")))
    await served.load(moved)
    await served.load(other)  # takes its place, on the device and in memory
    shutil.rmtree(moved.path)
    assert (await served.ask(model=name_of(one.digest))).status_code == 404
    assert name_of(one.digest) not in await served.listed()


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"prompt": "fox"}, 400, "prompt"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": [99_999]}, 400, "prompt"),
        ({"stream": False}, 400, "stream"),
        ({"stream": None}, 400, "stream"),
        ({"max_tokens": None}, 400, "max_tokens"),
        ({"max_tokens": 100_000}, 400, "messages"),
        ({"top_k": 5}, 400, "top_k"),
        ({"min_p": 0.5}, 400, "min_p"),
        ({"repetition_penalty": 1.2}, 400, "repetition_penalty"),
        ({"best_of": 2}, 400, "best_of"),
        ({"logprobs": 21}, 400, "logprobs"),
        ({"structured_outputs": {"json": {"type": "nothing"}}}, 400, "response_format"),
        ({"model": "another"}, 404, "model"),
        ({"prompt": [5] * 60_000}, 413, None),
    ],
    ids=str,
)
async def test_what_it_cannot_do_is_refused_by_name(
    served: Served, fields: dict[str, Any], status: int, param: str | None
) -> None:
    answer = await served.ask(**fields)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param


async def test_what_is_no_adapter_for_it_is_refused_with_the_reason(
    served: Served, contract_files: Files, tmp_path: Path
) -> None:
    one, other = contract_files.adapters
    foreign_model = tiny.make_tiny_model(tmp_path / "foreign", seed=9)
    folder = tiny.make_tiny_adapter(tmp_path / "f", foreign_model, rank=4)
    foreign = tiny.publish(Registry(tmp_path / "registry"), folder, "f@1", foreign_model)
    cases = {
        "trained on base": await served.load(foreign),
        "not those that were published": await served.load(one, lora_path=str(other.path)),
        "is not a folder": await served.load(one, lora_path=str(tmp_path / "none")),
        "no name of an adapter": await served.load(one, lora_name="mine"),
    }
    for said, answer in cases.items():
        assert 400 <= answer.status_code < 500
        assert said in answer.json()["error"]["message"]
    assert await served.listed() == ["tiny"]


async def test_it_holds_no_more_adapters_than_it_may(serve: Serve, contract_files: Files) -> None:
    served = await serve(adapters=1)
    one, other = contract_files.adapters
    assert (await served.load(one)).status_code == 200
    refused = await served.load(other)
    assert refused.status_code == 400
    assert "unload one first" in refused.json()["error"]["message"]


async def test_a_full_queue_says_so_and_when_to_come_again(serve: Serve) -> None:
    served = await serve(max_rows=1, max_queue=1)
    answers = await asyncio.gather(*(served.ask(max_tokens=40) for _ in range(6)))
    full = [one for one in answers if one.status_code == 429]
    assert full
    assert all(int(one.headers["retry-after"]) >= 1 for one in full)
    assert {one.status_code for one in answers} == {200, 429}


async def test_without_the_key_nothing_is_told_but_health(serve: Serve) -> None:
    served = await serve(key="secret")
    assert (await served.ask()).status_code == 401
    assert (await served.http.get("/v1/models")).status_code == 401
    assert (await served.http.get("/health")).status_code == 200
    served.http.headers["authorization"] = "Bearer secret"
    assert len(text_of(await served.ask())) > 0


async def test_one_that_stops_takes_nothing_and_is_not_well(served: Served) -> None:
    served.app.drain()
    assert (await served.http.get("/health")).status_code == 503
    assert (await served.ask()).status_code == 503


async def test_its_metrics_are_the_engines(served: Served) -> None:
    await served.ask()
    scraped = (await served.http.get("/metrics")).text
    assert "gateway_engine_healthy 1.0" in scraped
    assert "gateway_queue_depth 0.0" in scraped
