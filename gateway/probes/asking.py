"""Ask one model one probe, as background work of the engine, and judge what it does.

A probe is asked plainly: greedily, without the workflow's schema, defaults or limits. What is
measured is the model, not the product around it.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence

from gateway.engine.base import Delta, Engine, GenerationRequest, SamplingParams
from gateway.engine.continuation import prompt_tokens, scored_tokens
from gateway.errors import EngineFault
from gateway.guard.detectors import Answered, detector
from gateway.probes.values import Choices, Probe
from gateway.registry.values import AdapterArtifact


class Asker:
    """Asks the engine. For one event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ids = itertools.count(1)

    async def score(self, probe: Probe, adapter: AdapterArtifact | None) -> float | None:
        """What `adapter` (None: the base) makes of `probe`: 0 good to 1 bad; None where a pattern
        ran out of time on the answer.

        Raises EngineFault, AdapterRejected, QueueFull, and BadInput where the probe is too long
        for the engine.
        """
        judged = probe.judged
        if isinstance(judged, Choices):
            asked = (self._likelihood(probe, text, adapter) for text in judged.texts)
            return 1.0 - probability(await asyncio.gather(*asked), judged.right)
        prompt = await asyncio.to_thread(
            prompt_tokens, self._engine.text, probe.messages, probe.prompt
        )
        deltas = await self._run(
            prompt, SamplingParams(max_tokens=probe.max_tokens, temperature=0), adapter
        )
        seen = Answered("".join(delta.text for delta in deltas), "ok", str(deltas[-1].finish or ""))
        # Off the loop: a pattern may take its time.
        return await asyncio.to_thread(lambda: detector(judged, None)(seen))

    async def _likelihood(self, probe: Probe, text: str, adapter: AdapterArtifact | None) -> float:
        """The natural-log probability of `text` after the probe."""
        tokens, first = await asyncio.to_thread(
            scored_tokens, self._engine.text, probe.messages, probe.prompt, text
        )
        if first >= len(tokens):
            return 0.0  # no token of its own: as likely as what it says, which is nothing
        sampling = SamplingParams(
            max_tokens=0, temperature=0, prompt_logprobs=0, prompt_logprobs_from=first
        )
        deltas = await self._run(tokens, sampling, adapter)
        scores = [score for delta in deltas for score in delta.prompt_logprobs or ()]
        # The engine may report from an earlier token on; the last ones are the text's.
        last = scores[len(scores) - (len(tokens) - first) :]
        return sum(score.logprob for score in last if score.logprob is not None)

    async def _run(
        self, prompt: tuple[int, ...], sampling: SamplingParams, adapter: AdapterArtifact | None
    ) -> Sequence[Delta]:
        request = GenerationRequest(
            f"probe-{next(self._ids)}", prompt, sampling, adapter, background=True
        )
        stream = self._engine.generate(request)
        try:
            deltas = [delta async for delta in stream]
        finally:
            stream.cancel()
        if not deltas or deltas[-1].finish == "cancelled":
            raise EngineFault("the engine stopped before a probe was answered")
        return deltas


def probability(logprobs: Sequence[float], right: int) -> float:
    """Of the right choice among the choices: the softmax of their log-probabilities."""
    best = max(logprobs)
    weights = [math.exp(logprob - best) for logprob in logprobs]
    return weights[right] / sum(weights)
