"""One contract for an engine and for a running gateway over it, and what only HTTP can break."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.engine.text import HuggingFaceText
from gateway.log.location import FolderLocation
from gateway.registry.store import Registry
from gateway.serve import Gateway
from gateway.settings import Settings
from tests import tiny
from tests.trainer.evals.models import TinyFiles, guard, make_suite, start_engine, target
from trainer.errors import EvaluationError
from trainer.evals.run import evaluate
from trainer.evals.suite import Generation
from trainer.evals.targets.base import Context, Target, scored_tokens
from trainer.evals.targets.engine import EngineHost
from trainer.evals.targets.http import HttpTarget
from trainer.evals.values import Split

ROUTES = """\
version: 1
workflows:
  tuned: {target: a0@1, max_tokens: 64}
  plain: {target: base, max_tokens: 64}
"""
CHAT = Context(messages=({"role": "user", "content": "the quick fox"},))
PLAIN = Context(prompt="the lazy dog")


@dataclass
class Served:
    url: str
    text: HuggingFaceText
    fingerprint: str

    def workflow(self, name: str) -> HttpTarget:
        return HttpTarget(self.url, name, text=self.text, base_fingerprint=self.fingerprint)


@asynccontextmanager
async def serving(files: TinyFiles, folder: Path) -> AsyncIterator[Served]:
    """A running gateway with adapter a0 on one workflow and the base on another."""
    tiny.publish(Registry(folder / "registry"), files.adapters[0], "a0@1", files.model)
    (folder / "routes.yaml").write_text(ROUTES)
    gateway = Gateway(
        Settings(
            port=0,
            admin_port=0,
            routes=folder / "routes.yaml",
            state=FolderLocation(folder / "var"),
            registry=str(folder / "registry"),
            model=str(files.model),
            device="cpu",
            slots=2,
            max_rows=4,
            max_len=256,
            max_queue=8,
            grace_s=0.5,
            log_level="error",
        )
    )
    await gateway.start()
    url = f"http://127.0.0.1:{gateway.ports[0]}/v1"
    try:
        yield Served(url, HuggingFaceText(files.model), files.fingerprint)
    finally:
        await gateway.stop()


@asynccontextmanager
async def in_engine(files: TinyFiles) -> AsyncIterator[Target]:
    engine = start_engine(files)
    try:
        yield target(EngineHost(engine), files, 0)
    finally:
        await engine.close()


@pytest.fixture
async def served(files: TinyFiles, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(files, tmp_path) as running:
        yield running


@pytest.fixture
async def engine_target(files: TinyFiles) -> AsyncIterator[Target]:
    async with in_engine(files) as made:
        yield made


@pytest.fixture(params=["engine", "http"])
async def asked(
    request: pytest.FixtureRequest, files: TinyFiles, tmp_path: Path
) -> AsyncIterator[Target]:
    """The same adapter behind each kind of target."""
    if request.param == "engine":
        async with in_engine(files) as made:
            yield made
        return
    async with serving(files, tmp_path) as running:
        workflow = running.workflow("tuned")
        yield workflow
        await workflow.aclose()


async def test_greedy_answers_are_the_same_each_time_and_end_with_a_reason(asked: Target) -> None:
    for context in (CHAT, PLAIN):
        first = await asked.answer(context, Generation(max_tokens=5))
        assert first == await asked.answer(context, Generation(max_tokens=5))
        assert first.finish in {"stop", "length"}


async def test_sampling_follows_its_seed(asked: Target) -> None:
    hot = [Generation(max_tokens=8, temperature=2, seed=seed) for seed in (1, 1, 2)]
    one, again, other = [await asked.answer(CHAT, generation) for generation in hot]
    assert one == again != other


@pytest.mark.parametrize("context", [CHAT, PLAIN], ids=["chat", "plain"])
async def test_a_score_has_one_value_for_each_token_of_the_continuation(
    asked: Target, context: Context, files: TinyFiles
) -> None:
    tokens, first = scored_tokens(HuggingFaceText(files.model), context, " jumps over")
    scored = await asked.score(context, " jumps over")
    assert len(scored.logprobs) == len(tokens) - first > 0
    assert all(value <= 0 for value in scored.logprobs)


async def test_nothing_has_no_likelihood(asked: Target) -> None:
    assert (await asked.score(CHAT, "")).logprobs == ()


async def test_gateway_and_engine_say_and_score_the_same(
    engine_target: Target, served: Served
) -> None:
    over_http = served.workflow("tuned")
    for context in (CHAT, PLAIN):
        generation = Generation(max_tokens=6)
        direct = await engine_target.answer(context, generation)
        assert await over_http.answer(context, generation) == direct
        scores = [await t.score(context, " jumps over") for t in (engine_target, over_http)]
        assert scores[0].logprobs == pytest.approx(scores[1].logprobs, abs=1e-4)
    assert over_http.served_by == "a0@1"
    await over_http.aclose()


async def test_a_whole_evaluation_of_a_workflow_waits_its_turn(
    served: Served, tmp_path: Path
) -> None:
    """More in flight than the gateway's queue of eight holds: what it turns away comes again."""
    suite = make_suite(tmp_path / "s", items=24, checks=[guard("repetition"), guard("length")])
    base, tuned = served.workflow("plain"), served.workflow("tuned")
    done = await evaluate([suite], Split.ALL, base=base, candidates=[tuned])
    assert [len(each.suites[0].items) for each in done.values()] == [24, 24]
    await base.aclose()
    await tuned.aclose()


@pytest.mark.parametrize(
    ("url", "workflow", "message"),
    [
        (lambda url: url, "nowhere", "nowhere"),
        (lambda url: url.removesuffix("/v1"), "tuned", "404"),
        (lambda _: "http://127.0.0.1:9/v1", "tuned", "is the gateway running there"),
    ],
)
async def test_what_is_not_there_is_said(
    served: Served, url: Callable[[str], str], workflow: str, message: str
) -> None:
    wrong = HttpTarget(
        url(served.url), workflow, text=served.text, base_fingerprint=served.fingerprint
    )
    with pytest.raises(EvaluationError, match=message):
        await wrong.answer(CHAT, Generation(max_tokens=2))
    await wrong.aclose()


async def test_a_limit_of_the_route_is_named(served: Served) -> None:
    asked = served.workflow("tuned")
    with pytest.raises(EvaluationError, match="allows 64"):
        await asked.answer(CHAT, Generation(max_tokens=65))
    await asked.aclose()


async def test_a_route_that_changes_in_between_is_refused() -> None:
    targets = iter(["a@1", "base"])

    def respond(request: httpx.Request) -> httpx.Response:
        choice = {"message": {"content": "x"}, "finish_reason": "stop"}
        return httpx.Response(
            200, json={"choices": [choice]}, headers={"x-gateway-target": next(targets)}
        )

    asked = HttpTarget("http://gateway/v1", "w", text=_NoText(), base_fingerprint="f")
    await asked.aclose()
    asked._client = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    await asked.answer(CHAT, Generation())
    with pytest.raises(EvaluationError, match="answered by a@1 and by base"):
        await asked.answer(CHAT, Generation())
    await asked.aclose()


class _NoText:
    def encode(self, text: str) -> list[int]:
        raise AssertionError

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        raise AssertionError


def test_tokens_at_the_seam_are_the_whole_texts(files: TinyFiles) -> None:
    """`the la|zy dog`: the token that holds the seam is scored whole, never split."""
    text = HuggingFaceText(files.model)
    whole = text.encode("the lazy dog")
    for at in range(1, len("the lazy dog")):
        tokens, first = scored_tokens(
            text, Context(prompt="the lazy dog"[:at]), "the lazy dog"[at:]
        )
        assert list(tokens) == whole
        assert 1 <= first < len(whole)
