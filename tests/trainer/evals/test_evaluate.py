"""Evaluations of a real engine: what comes out, what is kept and what is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.trainer.evals.models import TinyFiles, guard, make_suite, start_engine, target
from trainer.errors import EvaluationError
from trainer.evals.checks.base import Answered, Likelihood
from trainer.evals.progress import NoProgress
from trainer.evals.results import read_evaluation, write_evaluation
from trainer.evals.run import evaluate
from trainer.evals.suite import Generation, Suite
from trainer.evals.targets.base import Context, Target
from trainer.evals.targets.engine import EngineHost
from trainer.evals.values import Split, SuiteResult
from trainer.folder import RunFolder


@pytest.fixture
async def host(files: TinyFiles) -> AsyncIterator[EngineHost]:
    engine = start_engine(files)
    yield EngineHost(engine)
    await engine.close()


@pytest.fixture
def suites(tmp_path: Path) -> list[Suite]:
    return [
        make_suite(tmp_path / "chat", name="chat", checks=[guard("length"), guard("repetition")]),
        make_suite(
            tmp_path / "kl",
            name="kl",
            checks=[guard("kl")],
            generation={"max_tokens": 6, "temperature": 1},
        ),
        make_suite(tmp_path / "mc", name="mc", checks=[guard("multiple_choice")]),
        make_suite(tmp_path / "text", name="text", checks=[guard("perplexity")]),
    ]


class Counting:
    """A target that counts what it is asked."""

    def __init__(self, inner: Target) -> None:
        self.inner = inner
        self.name = inner.name
        self.base_fingerprint = inner.base_fingerprint
        self.adapter_digest = inner.adapter_digest
        self.asked = 0

    async def answer(self, context: Context, generation: Generation) -> Answered:
        self.asked += 1
        return await self.inner.answer(context, generation)

    async def score(self, context: Context, continuation: str) -> Likelihood:
        self.asked += 1
        return await self.inner.score(context, continuation)


async def test_adapters_are_told_from_the_base_on_every_check(
    files: TinyFiles, host: EngineHost, suites: list[Suite]
) -> None:
    done = await evaluate(
        suites,
        Split.ALL,
        base=target(host, files, None),
        candidates=[target(host, files, 0), target(host, files, 1)],
    )
    assert list(done) == ["base", "a0", "a1"]
    base, a0, a1 = done.values()
    assert base.suite("kl").mean("kl") == base.suite("chat").mean("length") == 0
    for adapter in (a0, a1):
        assert abs(adapter.suite("kl").mean("kl")) > 0.001
        assert adapter.suite("chat").items[0].answer != base.suite("chat").items[0].answer
        assert adapter.adapter_digest
        assert [item.id for item in adapter.suite("text").items] == [
            item.id for item in base.suite("text").items
        ]
    assert len({each.suite("text").mean("perplexity") for each in done.values()}) == 3


async def test_a_text_scores_what_transformers_and_peft_give_it(
    files: TinyFiles, host: EngineHost
) -> None:
    text = "the quick brown fox jumps"
    tokens = torch.tensor([host.engine.text.encode(text)])
    model = AutoModelForCausalLM.from_pretrained(files.model, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(model, files.adapters[0]).eval()
    with torch.inference_mode():
        logits = tuned(input_ids=tokens).logits[0, :-1].log_softmax(-1)
    expected = logits.gather(1, tokens[0, 1:, None]).squeeze(1).tolist()
    asked = target(host, files, 0)
    whole = await asked.score(Context(), text)
    assert whole.logprobs == pytest.approx(expected, abs=1e-3)
    # The same tokens as a continuation: only the last part is scored.
    part = await asked.score(Context(prompt="the quick"), " brown fox jumps")
    assert part.logprobs == pytest.approx(expected[-len(part.logprobs) :], abs=1e-3)
    assert 0 < len(part.logprobs) < len(whole.logprobs)


async def test_an_answer_scored_again_has_the_likelihood_it_was_made_with(
    files: TinyFiles, host: EngineHost
) -> None:
    """Greedy: each token of the answer is the likeliest, so no other answer scores better."""
    base = target(host, files, None)
    context = Context(messages=({"role": "user", "content": "the fox"},))
    said = await base.answer(context, Generation(max_tokens=1))
    others = await asyncio.gather(*(base.score(context, other) for other in ("a", " the", "q")))
    likelihood = await base.score(context, said.text)
    assert likelihood.total >= max(other.logprobs[0] for other in others)


async def test_results_are_read_back_equal_and_not_asked_again(
    files: TinyFiles, host: EngineHost, suites: list[Suite], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")

    async def run(used: list[Suite]) -> tuple[dict[str, object], int, int]:
        base, adapter = (Counting(target(host, files, n)) for n in (None, 0))
        done = await evaluate(used, Split.ALL, base=base, candidates=[adapter], folder=folder)
        return dict(done), base.asked, adapter.asked

    first, *_ = await run(suites)
    for name, evaluation in first.items():
        assert read_evaluation(folder.evaluation("all", name)) == evaluation
    again, *asked = await run(suites)
    assert again == first
    assert asked == [0, 0]
    changed = make_suite(tmp_path / "mc", name="mc", items=4, checks=[guard("multiple_choice")])
    _, *asked = await run([*suites[:2], changed, suites[3]])
    assert asked == [12, 12]  # four items of three choices


async def test_another_adapter_of_the_same_name_is_asked_anew(
    files: TinyFiles, host: EngineHost, suites: list[Suite], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    base = target(host, files, None)
    await evaluate(
        suites[3:], Split.ALL, base=base, candidates=[target(host, files, 0)], folder=folder
    )
    other = Counting(target(host, files, 1))
    other.name = "a0"
    await evaluate(suites[3:], Split.ALL, base=base, candidates=[other], folder=folder)
    assert other.asked == 9


async def test_a_run_that_is_stopped_goes_on_where_it_was(
    files: TinyFiles, host: EngineHost, suites: list[Suite], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")

    class Stopping(Counting):
        async def score(self, context: Context, continuation: str) -> Likelihood:
            raise EvaluationError("the power went")

    with pytest.raises(EvaluationError, match="the power went"):
        await evaluate(suites, Split.ALL, base=Stopping(target(host, files, None)), folder=folder)
    base = Counting(target(host, files, None))
    await evaluate(suites, Split.ALL, base=base, folder=folder)
    # The first suite's nine answers were kept; kl asks for an answer and a score, mc for three.
    assert base.asked == 9 * 2 + 9 * 3 + 9


async def test_suites_are_done_one_after_the_other(
    files: TinyFiles, host: EngineHost, tmp_path: Path
) -> None:
    """However many requests an item takes: what a kill loses is a batch, not the whole run."""
    suites = [
        make_suite(tmp_path / name, name=name, items=80, checks=[guard("multiple_choice")])
        for name in ("one", "two")
    ]
    asked: list[str] = []

    class Watching(Counting):
        async def score(self, context: Context, continuation: str) -> Likelihood:
            asked.append(continuation)
            return Likelihood((-1.0,))

    shown: list[tuple[str, int]] = []

    class Watch(NoProgress):
        def suite_done(self, model: str, result: SuiteResult) -> None:
            shown.append((result.suite, len(asked)))

    await evaluate(suites, Split.ALL, base=Watching(target(host, files, None)), progress=Watch())
    assert [name for name, _ in shown] == ["one", "two"]
    assert shown[0][1] < 2 * 80 * 3  # the second suite's requests were not all made before


async def test_a_damaged_result_is_made_again(
    files: TinyFiles, host: EngineHost, suites: list[Suite], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    path = folder.evaluation("all", "base")
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 1, "suites": [')
    done = await evaluate(suites[3:], Split.ALL, base=target(host, files, None), folder=folder)
    assert read_evaluation(path) == done["base"]


async def test_what_cannot_be_judged_is_refused_before_anything_runs(
    files: TinyFiles, host: EngineHost, suites: list[Suite], tmp_path: Path
) -> None:
    adapter = Counting(target(host, files, 0))
    with pytest.raises(EvaluationError, match="evaluate the base too"):
        await evaluate(suites, Split.ALL, base=None, candidates=[adapter])
    one = make_suite(tmp_path / "one", name="one", items=1, checks=[guard("perplexity")])
    empty = next(s for s in (Split.SELECT, Split.GATE) if not one.part(s))
    with pytest.raises(EvaluationError, match="no item in the"):
        await evaluate([one], empty, base=adapter)
    with pytest.raises(EvaluationError, match="named twice"):
        await evaluate(suites, Split.ALL, base=adapter, candidates=[adapter])
    assert adapter.asked == 0


async def test_a_score_that_is_no_number_is_an_error_with_its_item(
    files: TinyFiles, host: EngineHost, suites: list[Suite]
) -> None:
    class Broken(Counting):
        async def score(self, context: Context, continuation: str) -> Likelihood:
            return Likelihood((float("nan"),))

    with pytest.raises(EvaluationError, match="suite text, item text-0: perplexity is nan"):
        await evaluate(suites[3:], Split.ALL, base=Broken(target(host, files, None)))


def test_a_failed_write_leaves_the_old_result(tmp_path: Path) -> None:
    from trainer.evals.values import Evaluation

    old = Evaluation("m", Split.ALL, (), "f", None, 1.0)
    path = tmp_path / "m.json"
    write_evaluation(path, old)
    with pytest.raises(TypeError):
        write_evaluation(path, replace(old, adapter_digest=object()))  # type: ignore[arg-type]
    assert read_evaluation(path) == old
    assert [each.name for each in tmp_path.iterdir()] == ["m.json"]
