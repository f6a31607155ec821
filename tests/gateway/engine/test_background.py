"""Background work runs in what live requests leave, and gives way to them at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.base import Delta, GenerationRequest, SamplingParams, TokenStream
from gateway.engine.detokenize import Detokenizer
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.engine.embedded.rows import Row, Step, Submission
from gateway.engine.embedded.runner import StepResult
from gateway.engine.embedded.sampling import RowSampler
from gateway.engine.embedded.scheduler import Scheduler
from gateway.engine.stream import DeltaStream
from gateway.errors import AdapterRejected, QueueFull
from gateway.model.fingerprint import fingerprint
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from tests import tiny


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[AdapterArtifact]]:
    root = tmp_path_factory.mktemp("background")
    model = tiny.make_tiny_model(root / "model")
    registry = Registry(root / "registry")
    adapters = [
        tiny.publish(
            registry, tiny.make_tiny_adapter(root / f"a{i}", model, seed=i), f"a{i}@1", model
        )
        for i in range(2)
    ]
    return model, adapters


class Seen:
    """A running engine that notes its steps, and can be held between two of them."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self.steps: list[list[bool]] = []  # of each row of a step: whether it is background
        run = engine._runner.run

        def noted(step: Step) -> StepResult:
            rows = [*step.decode, *(chunk.row for chunk in step.prefill)]
            self.steps.append([row.is_background for row in rows])
            return run(step)

        engine._runner.run = noted  # type: ignore[method-assign]

    def ask(
        self,
        count: int,
        *,
        background: bool,
        first: int = 5,
        adapter: AdapterArtifact | None = None,
        scored: bool = False,
    ) -> TokenStream:
        sampling = SamplingParams(
            count, temperature=0, ignore_eos=True, prompt_logprobs=0 if scored else None
        )
        prompt = tuple(range(first, first + 40))
        return self.engine.generate(
            GenerationRequest("r", prompt, sampling, adapter, background=background)
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        deadline = asyncio.get_running_loop().time() + 20
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
            await asyncio.sleep(0.002)


Start = Callable[..., Seen]


@pytest.fixture
async def start(files: tuple[Path, list[AdapterArtifact]]) -> AsyncIterator[Start]:
    engines: list[EmbeddedEngine] = []

    def started(**changes: int) -> Seen:
        sizes = {"slots": 1, "max_rows": 2, "max_len": 400, "prefill_tokens": 16, **changes}
        engine = EmbeddedEngine(
            files[0],
            name="tiny",
            fingerprint=fingerprint(files[0]),
            options=EngineOptions(device="cpu", **sizes),  # type: ignore[arg-type]
        )
        engine.start()
        engines.append(engine)
        return Seen(engine)

    yield started
    for engine in engines:
        await engine.close()


async def read(stream: TokenStream) -> list[Delta]:
    return [delta async for delta in stream]


def tokens(deltas: list[Delta]) -> list[int]:
    return [token for delta in deltas for token in delta.token_ids]


async def test_no_step_holds_live_and_background_rows_together(start: Start) -> None:
    seen = start(max_rows=6)
    streams = [seen.ask(30, background=True, first=i) for i in range(4)]
    await seen.until(lambda: len(seen.steps) > 3)
    streams += [seen.ask(20, background=False, first=i) for i in range(3)]
    answers = await asyncio.gather(*map(read, streams))
    assert [len(tokens(answer)) for answer in answers] == [30] * 4 + [20] * 3
    assert all(len(set(rows)) == 1 for rows in seen.steps)
    assert seen.engine.stats().background_rows == seen.engine.stats().running_rows == 0


async def test_a_live_request_takes_the_place_and_the_other_goes_on_where_it_was(
    start: Start,
) -> None:
    seen = start(max_rows=1)
    alone = await read(seen.ask(60, background=True, scored=True))
    stream = seen.ask(60, background=True, scored=True)
    before = len(seen.steps)
    await seen.until(lambda: len(seen.steps) > before + 8)
    live = await read(seen.ask(5, background=False, first=90))
    assert len(tokens(live)) == 5
    again = await read(stream)
    assert seen.engine.stats().background_preemptions == 1
    assert tokens(again) == tokens(alone)
    assert "".join(delta.text for delta in again) == "".join(delta.text for delta in alone)
    scores = [[t.token_id for d in a for t in d.prompt_logprobs or ()] for a in (again, alone)]
    assert scores[0] == scores[1] == list(range(5, 45))


async def test_a_live_request_takes_the_slot_that_background_work_holds(
    start: Start, files: tuple[Path, list[AdapterArtifact]]
) -> None:
    seen, (one, other) = start(), files[1]
    alone = tokens(await read(seen.ask(80, background=True, adapter=one)))
    stream = seen.ask(80, background=True, adapter=one)
    before = len(seen.steps)
    await seen.until(lambda: len(seen.steps) > before + 4)
    await read(seen.ask(5, background=False, adapter=other))
    assert seen.engine.stats().background_preemptions == 1
    assert tokens(await read(stream)) == alone


async def test_background_work_never_evicts_a_live_routes_adapter(
    start: Start, files: tuple[Path, list[AdapterArtifact]]
) -> None:
    seen, (routed, candidate) = start(), files[1]
    seen.engine.set_pinned({routed.digest})
    await seen.engine.make_resident(routed)
    waiting = seen.ask(3, background=True, adapter=candidate)
    await read(seen.ask(3, background=True))  # later, and past it
    assert seen.engine.stats().resident_adapters == (routed.digest,)
    waiting.cancel()
    await read(waiting)
    assert seen.engine.stats().background_queue_depth == 0


async def test_an_adapter_that_cannot_be_loaded_is_told(
    start: Start, files: tuple[Path, list[AdapterArtifact]], tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    lost = files[1][0]
    lost = AdapterArtifact(
        lost.ref, "0" * 64, tmp_path / "gone", "tiny", lost.base_fingerprint, 8, (), 1, lost.state
    )
    with pytest.raises(AdapterRejected):
        await read(start().ask(3, background=True, adapter=lost))


async def test_a_full_background_queue_refuses_and_leaves_the_live_queue_alone(
    start: Start,
) -> None:
    seen = start(background_queue=2, max_queue=1, background_rows=1, max_rows=1)
    streams = [seen.ask(200, background=True)]
    await seen.until(lambda: seen.engine.stats().background_rows == 1)
    streams += [seen.ask(200, background=True) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 background requests are waiting, the queue holds 2"):
        seen.ask(1, background=True)
    await read(seen.ask(1, background=False))
    for stream in streams:
        stream.cancel()


async def test_a_stop_does_not_wait_for_background_work(start: Start) -> None:
    seen = start()
    stream = seen.ask(300, background=True)
    await seen.until(lambda: bool(seen.steps))
    async with asyncio.timeout(20):
        await seen.engine.close(grace_s=600)
    assert len(tokens(await read(stream))) < 300


def row(background: bool, prompt: int) -> Row:
    sampling = SamplingParams(4)
    request = GenerationRequest("r", tuple(range(prompt)), sampling, background=background)
    submission = Submission(request, cast(DeltaStream, None), None)
    return Row(
        submission, 0, list(range(prompt)), prompt, RowSampler(sampling), cast(Detokenizer, None)
    )


@given(st.lists(st.sampled_from(["live", "background", "step", "end"]), max_size=60), st.data())
def test_whatever_comes_live_rows_are_never_kept_from_a_place_or_a_step(
    events: list[str], data: st.DataObject
) -> None:
    scheduler = Scheduler(EngineOptions(max_rows=3, prefill_tokens=8, background_prefill_tokens=4))
    free = [2, 1, 0]

    def take(row: Row, has_place: bool) -> bool:
        row.kv_row = free.pop()
        return True

    for event in events:
        if event in ("live", "background"):
            scheduler.add(row(event == "background", data.draw(st.integers(1, 20))))
        elif event == "end" and (rows := scheduler.rows):
            ended = rows[data.draw(st.integers(0, len(rows) - 1))]
            scheduler.drop(ended)
            if ended.kv_row >= 0:
                free.append(ended.kv_row)
        scheduler.admit(len(free), take)
        for each in scheduler.in_the_way(len(free)):
            free.append(each.kv_row)
            scheduler.preempt(each)
        scheduler.admit(len(free), take)
        held = [each.kv_row for each in scheduler.rows if each.kv_row >= 0]
        assert sorted([*held, *free]) == [0, 1, 2]
        if scheduler.waiting:
            assert not scheduler.background, "a live row waits and a background row has a place"
        step = scheduler.next_step()
        chosen = [*step.decode, *(chunk.row for chunk in step.prefill)]
        assert all(not each.is_background for each in chosen) or not scheduler.running
        if event == "step":
            for chunk in step.prefill:
                chunk.row.computed += chunk.count
            for each in step.decode:
                each.computed += 1
            for each in chosen:
                if each.computed == len(each.tokens):
                    each.tokens.append(0)
                    each.generated += 1
