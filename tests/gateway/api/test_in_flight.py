"""`--in-flight restart` at every stage of a request: one model answers, or the stream says why
it ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import httpx
import pytest

from gateway.engine.embedded.rows import Row, Step
from gateway.engine.embedded.runner import StepResult
from tests.gateway.conftest import World

PROMPT = [5 + n % 40 for n in range(300)]  # three steps of prefill, 128 at a time
TOKENS = 12


@dataclass
class Hold:
    """Stops the engine before the first step that `when` takes, until it is let go."""

    when: Callable[[Step], bool] = lambda _: False
    reached: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
async def hold(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hold]:
    held = Hold()
    runner = world.engine._runner
    run = runner.run

    def stopping(step: Step) -> StepResult:
        if not held.reached.is_set() and held.when(step):
            held.reached.set()
            assert held.let_go.wait(60)
        return run(step)

    monkeypatch.setattr(runner, "run", stopping)
    yield held
    held.let_go.set()


def tuned(row: Row) -> bool:
    return row.request.adapter is not None


def mid_prompt(step: Step) -> bool:
    return any(tuned(c.row) and c.row.computed and not c.completes_prompt for c in step.prefill)


def before_the_first_token(step: Step) -> bool:
    return any(tuned(c.row) and c.completes_prompt for c in step.prefill)


def mid_stream(step: Step) -> bool:
    return any(tuned(row) and row.generated >= 4 for row in step.decode)


@dataclass
class Asking:
    """One request under way. `lines` are those of its stream so far, or the whole answer's."""

    headers: httpx.Headers = field(default_factory=httpx.Headers)
    lines: list[str] = field(default_factory=list)

    async def ask(self, world: World, workflow: str, *, stream: bool, prompt: list[int]) -> None:
        body = {
            "model": workflow,
            "prompt": [prompt],
            "max_tokens": TOKENS,
            "temperature": 0,
            "stream": stream,
        }
        async with (
            httpx.AsyncClient(base_url=world.inference, timeout=60) as http,
            http.stream("POST", "/v1/completions", json=body) as answer,
        ):
            assert answer.status_code == 200
            self.headers = answer.headers
            async for line in answer.aiter_lines():
                self.lines += [line] if line else []

    @property
    def text(self) -> str:
        data = [line.removeprefix("data: ") for line in self.lines if line != "data: [DONE]"]
        return "".join(json.loads(part)["choices"][0]["text"] for part in data)


async def base_text(world: World) -> str:
    """What the base model says to the prompt."""
    asking = Asking()
    await asking.ask(world, "base", stream=False, prompt=PROMPT)
    return asking.text


async def restart(world: World) -> None:
    done = await world.order(
        "POST", "/workflows/triage/disable", reason="wrong", in_flight="restart"
    )
    assert done.status_code == 200


def answered_by_base(asking: Asking, expected: str) -> None:
    assert asking.headers["x-gateway-target"] == "base"
    assert asking.headers["x-gateway-reason"] == "disabled"
    assert asking.text == expected


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_queued_request_is_answered_by_the_new_target(
    world: World, hold: Hold, stream: bool
) -> None:
    expected = await base_text(world)
    hold.when = lambda step: True  # somebody else's step: what comes now waits in the queue
    other, asking = Asking(), Asking()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(other.ask(world, "base", stream=False, prompt=[5, 9]))
        await world.until(hold.reached.is_set)
        tasks.create_task(asking.ask(world, "triage", stream=stream, prompt=PROMPT))
        await world.until(lambda: world.gateway.engine.stats().queue_depth == 1)
        await restart(world)
        hold.let_go.set()
    answered_by_base(asking, expected)


@pytest.mark.parametrize("stage", [mid_prompt, before_the_first_token])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_request_that_has_sent_nothing_is_answered_by_the_new_target(
    world: World,
    hold: Hold,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
    stage: Callable[[Step], bool],
) -> None:
    scheduler = world.engine._scheduler
    chunked = replace(scheduler._options, idle_prefill_tokens=128)  # as beside decoding rows
    monkeypatch.setattr(scheduler, "_options", chunked)
    expected = await base_text(world)
    hold.when = stage
    asking = Asking()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asking.ask(world, "triage", stream=stream, prompt=PROMPT))
        await world.until(hold.reached.is_set)
        await restart(world)
        hold.let_go.set()
    answered_by_base(asking, expected)


async def test_an_answer_held_back_until_its_end_starts_again_from_mid_way(
    world: World, hold: Hold
) -> None:
    expected = await base_text(world)
    hold.when = mid_stream
    asking = Asking()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asking.ask(world, "triage", stream=False, prompt=PROMPT))
        await world.until(hold.reached.is_set)
        await restart(world)
        hold.let_go.set()
    answered_by_base(asking, expected)


async def test_a_stream_that_has_sent_a_token_ends_with_an_error_and_no_other_model(
    world: World, hold: Hold
) -> None:
    whole = Asking()
    await whole.ask(world, "triage", stream=False, prompt=PROMPT)
    hold.when = mid_stream
    asking = Asking()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asking.ask(world, "triage", stream=True, prompt=PROMPT))
        await world.until(lambda: hold.reached.is_set() and bool(asking.lines))
        await restart(world)
        hold.let_go.set()
    assert asking.headers["x-gateway-target"] == "triage@1"
    at = asking.lines.index("event: error")
    assert "route_changed" in asking.lines[at + 1]
    assert len(asking.lines) == at + 2  # no [DONE], and nothing after it
    asking.lines = asking.lines[:at]
    assert asking.text
    assert whole.text.startswith(asking.text)


async def test_requests_of_other_workflows_run_on(world: World, hold: Hold) -> None:
    expected = await base_text(world)
    hold.when = mid_stream
    asking, other = Asking(), Asking()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asking.ask(world, "triage", stream=False, prompt=PROMPT))
        await world.until(hold.reached.is_set)
        tasks.create_task(other.ask(world, "base", stream=True, prompt=PROMPT))
        await world.until(lambda: world.gateway.engine.stats().queue_depth == 1)
        await restart(world)
        hold.let_go.set()
    assert (other.headers["x-gateway-reason"], other.text) == ("default", expected)
