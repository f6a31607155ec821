"""Base and adapters in one engine: the rows of all of them share its batches, as when served."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from gateway.engine.base import Delta, Engine, GenerationRequest, SamplingParams
from gateway.engine.embedded.engine import EmbeddedEngine
from gateway.engine.embedded.options import EngineOptions
from gateway.model.source import ModelFiles
from gateway.registry.content import adapter_digest, read_config
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing.table import AdapterRef
from trainer.evals.checks.base import Answered, Likelihood
from trainer.evals.suite import Generation
from trainer.evals.targets.base import BASE, Context, prompt_tokens, scored_tokens

_ADAPTER_WEIGHTS = "adapter_model.safetensors"


def open_engine(model: ModelFiles, *, max_rank: int = 16, threads: int = 0) -> EmbeddedEngine:
    """A started engine, sized for evaluation: whole batches, no first token to hurry for.

    Blocks while the model loads. The caller closes it.
    """
    options = EngineOptions(
        max_rank=max_rank,
        max_rows=24,
        max_len=1024,
        prefill_tokens=512,
        idle_prefill_tokens=1024,
        threads=threads,
    )
    engine = EmbeddedEngine(
        model.path, name=model.name, fingerprint=model.fingerprint, options=options
    )
    engine.start()
    return engine


def adapter_at(folder: Path, name: str, *, base_fingerprint: str) -> AdapterArtifact:
    """A PEFT adapter folder outside the registry, as the engine takes it.

    Raises AdapterRejected where it is no adapter, or one for another base model.
    """
    config = read_config(folder, name)
    digest = adapter_digest(folder, name)
    modules = config.get("target_modules") or ()
    return AdapterArtifact(
        ref=AdapterRef(name, "0"),  # no version yet
        digest=digest,
        path=folder,
        base_name="",
        base_fingerprint=base_fingerprint,
        rank=int(config.get("r", 0)),
        target_modules=tuple(sorted([modules] if isinstance(modules, str) else modules)),
        size_bytes=(folder / _ADAPTER_WEIGHTS).stat().st_size,
        state=AdapterState.CANDIDATE,
    )


class EngineHost:
    """An engine shared by several targets; bounds the requests they have in it together.

    Make it and its targets' calls on one event loop.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Enough that a batch is always full, and well under the queue's bound.
        self._room = asyncio.Semaphore(
            min(engine.info.max_rows + engine.info.max_queue // 2, 4 * engine.info.max_rows)
        )
        self._ids = itertools.count()

    async def run(
        self, prompt: tuple[int, ...], sampling: SamplingParams, adapter: AdapterArtifact | None
    ) -> list[Delta]:
        """All deltas of one request."""
        async with self._room:
            request_id = f"eval-{next(self._ids)}"
            stream = self.engine.generate(GenerationRequest(request_id, prompt, sampling, adapter))
            try:
                return [delta async for delta in stream]
            finally:
                stream.cancel()


class EngineTarget:
    """The base (no adapter) or one adapter, in a shared engine. See `Target`."""

    def __init__(
        self, host: EngineHost, adapter: AdapterArtifact | None = None, *, name: str | None = None
    ) -> None:
        self._host = host
        self._adapter = adapter
        self._name = name or (str(adapter.ref) if adapter else BASE)

    @property
    def name(self) -> str:
        return self._name

    @property
    def base_fingerprint(self) -> str:
        return self._host.engine.info.fingerprint

    @property
    def adapter_digest(self) -> str | None:
        return self._adapter.digest if self._adapter else None

    async def answer(self, context: Context, generation: Generation) -> Answered:
        """See `Target.answer`."""
        sampling = SamplingParams(
            max_tokens=generation.max_tokens,
            temperature=generation.temperature,
            seed=generation.seed,
            stop=generation.stop,
        )
        prompt = prompt_tokens(self._host.engine.text, context)
        deltas = await self._host.run(prompt, sampling, self._adapter)
        return Answered("".join(d.text for d in deltas), str(deltas[-1].finish or ""))

    async def score(self, context: Context, continuation: str) -> Likelihood:
        """See `Target.score`."""
        tokens, first = scored_tokens(self._host.engine.text, context, continuation)
        if first >= len(tokens):
            return Likelihood(())
        sampling = SamplingParams(
            max_tokens=0, temperature=0, prompt_logprobs=0, prompt_logprobs_from=first
        )
        deltas = await self._host.run(tokens, sampling, self._adapter)
        scores = [score for delta in deltas for score in delta.prompt_logprobs or ()]
        # The engine may report from an earlier token on; the last ones are the continuation's.
        scored = scores[len(scores) - (len(tokens) - first) :]
        return Likelihood(tuple(s.logprob for s in scored if s.logprob is not None))
