"""The shadows: asks a share of the answered requests a second time, and compares the answers.

`observe` never waits: it draws, and puts a value into a bounded queue or drops it. A few tasks take
it out, ask the shadow as background work (which the engine lets wait for as long as live requests
need it), read how likely each answer is to the other model, and count what the pair comes to; the
guard gets the pair for its checks with `reference: shadow`. No text is kept unless the route says
so.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.control.plane import ControlPlane
from gateway.engine.base import Delta, Engine, FinishReason, GenerationRequest, SamplingParams
from gateway.errors import EngineFault, GatewayError
from gateway.guard import shadow_text
from gateway.guard.detectors import Answered, Pair
from gateway.guard.shadow_tally import Likelihood, Outcome, Tally, tally_of
from gateway.guard.watch import Watch
from gateway.guard.watched import Arm, arm_of
from gateway.metrics import Metrics
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing.table import Decision, Shadow, Target

log = logging.getLogger("gateway.guard.shadow")

_QUEUE = 128
_AT_ONCE = 2  # as many rows as the embedded engine gives to background work
_PATIENCE_S = 300.0  # from the answer to the comparison; older ones are let go


class Unavailable(Exception):
    """The adapter is revoked, or not here."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One answered request, to be asked again."""

    decision: Decision
    request: GenerationRequest
    answered: Answered
    tokens: tuple[int, ...]  # of the answer
    at: float  # monotonic seconds


class Shadows:
    """All routes' shadows of this process. Belongs to one event loop."""

    def __init__(
        self,
        plane: ControlPlane,
        engine: Engine,
        watch: Watch,
        metrics: Metrics,
        state: Path,
        *,
        draw: Callable[[], float] = random.random,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """`state`: the folder for texts that are kept. `draw`: uniform in [0, 1)."""
        self._plane = plane
        self._engine = engine
        self._watch = watch
        self._metrics = metrics
        self._state = state
        self._draw = draw
        self._patience_s = patience_s
        self._queue: asyncio.Queue[Replay] = asyncio.Queue(_QUEUE)
        self._tasks: list[asyncio.Task[None]] = []
        self._tallies: dict[str, Tally] = {}  # by workflow, of the version seen last
        self._keeping = asyncio.Lock()  # one writer a file

    def start(self) -> None:
        """Begin. After the plane's start."""
        self._tasks = [
            asyncio.create_task(self._run(), name=f"shadow-{at}") for at in range(_AT_ONCE)
        ]

    async def close(self) -> None:
        """Stop; what waits is let go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def observe(
        self,
        decision: Decision,
        request: GenerationRequest,
        answered: Answered,
        tokens: tuple[int, ...],
    ) -> None:
        """Note a request that was answered well, of a route with a shadow. Never waits."""
        shadow = decision.route.shadow
        if shadow is None or arm_of(decision) is not Arm.CONTROL:
            return  # a canary's requests are compared with the control arm's
        if decision.target == shadow.target:
            return
        if self._draw() * 100 >= shadow.share:
            return
        try:
            self._queue.put_nowait(Replay(decision, request, answered, tokens, time.monotonic()))
        except asyncio.QueueFull:
            self._note(decision, Outcome.FULL)

    @property
    def tallies(self) -> list[Tally]:
        """What each route's shadow has shown, for routes that have one still."""
        table = self._plane.table
        found = []
        for workflow, tally in sorted(self._tallies.items()):
            live = table.resolve(workflow)
            if live is not None and live.route.shadow == tally.route.shadow:
                found.append(tally)
        return found

    async def _run(self) -> None:
        while True:
            replay = await self._queue.get()
            try:
                outcome = await self._compare(replay)
            except Exception:  # a shadow must outlive whatever one request holds
                log.exception("a shadow request failed")
                outcome = Outcome.FAILED
            if outcome is not Outcome.COMPARED:
                self._note(replay.decision, outcome)

    async def _compare(self, replay: Replay) -> Outcome:
        decision = replay.decision
        shadow = decision.route.shadow
        live = self._plane.table.resolve(decision.workflow)
        if shadow is None or live is None or live.target != decision.target:
            return Outcome.STALE
        if live.route.shadow != shadow:
            return Outcome.STALE
        left_s = self._patience_s - (time.monotonic() - replay.at)
        if left_s <= 0:
            return Outcome.LATE
        try:
            async with asyncio.timeout(left_s):
                pair, likelihoods = await self._pair(replay, shadow)
        except TimeoutError:
            return Outcome.LATE
        except Unavailable:
            return Outcome.UNAVAILABLE
        except GatewayError as error:
            log.info("shadow request of %s: %s", decision.workflow, error)
            return Outcome.FAILED
        tally = self._tally(decision)
        compared = await asyncio.to_thread(tally.score, pair, likelihoods)
        tally.take(self._metrics, compared)
        self._watch.observe(decision, pair)
        if shadow.store_text:
            await self._keep(replay, shadow, pair, compared.agreement)
        return Outcome.COMPARED

    async def _pair(self, replay: Replay, shadow: Shadow) -> tuple[Pair, dict[str, Likelihood]]:
        asked, target = replay.request, replay.decision.target
        sampling = replace(asked.sampling, logprobs=None, prompt_logprobs=None)
        beside = self._adapter(shadow.target)
        deltas = await self._ask(asked.request_id, asked.prompt, sampling, beside)
        text = "".join(delta.text for delta in deltas)
        said = tuple(token for delta in deltas for token in delta.token_ids)
        finish = deltas[-1].finish
        pair = Pair(replay.answered, Answered(text, "ok", None if finish is None else finish.value))
        likelihoods = {}
        for whose, tokens, judge in (
            ("target", replay.tokens, beside),
            ("shadow", said, self._adapter(target)),
        ):
            if tokens:
                likelihoods[whose] = await self._likelihood(asked, tokens, judge)
        return pair, likelihoods

    async def _likelihood(
        self, asked: GenerationRequest, tokens: tuple[int, ...], judge: AdapterArtifact | None
    ) -> Likelihood:
        sampling = SamplingParams(
            max_tokens=0, temperature=0, prompt_logprobs=0, prompt_logprobs_from=len(asked.prompt)
        )
        deltas = await self._ask(asked.request_id, asked.prompt + tokens, sampling, judge)
        scores = [score.logprob for delta in deltas for score in delta.prompt_logprobs or ()]
        # An engine may report from an earlier token on; the last ones are the answer's.
        known = [score for score in scores[-len(tokens) :] if score is not None]
        return Likelihood(sum(known), len(known))

    async def _ask(
        self,
        request_id: str,
        prompt: tuple[int, ...],
        sampling: SamplingParams,
        adapter: AdapterArtifact | None,
    ) -> list[Delta]:
        stream = self._engine.generate(
            GenerationRequest(f"{request_id}-shadow", prompt, sampling, adapter, background=True)
        )
        try:
            deltas = [delta async for delta in stream]
        finally:
            stream.cancel()
        if not deltas or deltas[-1].finish is FinishReason.CANCELLED:
            raise EngineFault("the gateway is stopping")
        return deltas

    def _adapter(self, target: Target) -> AdapterArtifact | None:
        """The adapter of a target, None for base. Raises Unavailable."""
        if target.digest is None:
            return None
        artifact = self._plane.artifacts.get(target.digest)
        if artifact is None or self._plane.adapter_state(artifact) is AdapterState.REVOKED:
            raise Unavailable
        return artifact

    def _tally(self, decision: Decision) -> Tally:
        """The tally of the route's version, begun anew for another version."""
        tally = self._tallies.get(decision.workflow)
        if tally is None or not tally.is_of(decision):
            tally = self._tallies[decision.workflow] = tally_of(decision)
        return tally

    def _note(self, decision: Decision, outcome: Outcome) -> None:
        """Count what came to no comparison; of an earlier version of the route as metrics alone."""
        self._metrics.shadow_requests.labels(decision.workflow, outcome).inc()
        tally = self._tallies.get(decision.workflow)
        if outcome is not Outcome.STALE and (tally is None or tally.is_of(decision)):
            self._tally(decision).note(outcome)

    async def _keep(self, replay: Replay, shadow: Shadow, pair: Pair, agreement: float) -> None:
        decision = replay.decision
        line = {
            "at": round(time.time(), 3),
            "request_id": replay.request.request_id,
            "target": str(decision.target),
            "shadow": str(shadow.target),
            "agreement": round(agreement, 6),
            "prompt": self._engine.text.decode(replay.request.prompt),
            "answer": pair.answered.text,
            "shadow_answer": pair.compared.text,
        }
        try:
            async with self._keeping:
                await asyncio.to_thread(
                    shadow_text.append, self._state, decision.workflow, line, shadow.store_bytes
                )
        except OSError as error:
            log.warning("a pair of %s cannot be kept: %s", decision.workflow, error)
