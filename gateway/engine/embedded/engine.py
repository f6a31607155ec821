"""The embedded engine: `Engine` over one model in this process, run by one thread of its own.

Callers (any event loop) put submissions into an inbox and read deltas from a stream; the engine
thread alone touches rows, scheduler, cache and model. The event loop never waits on torch.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from gateway.engine.adapter_use import AdapterUseCounts
from gateway.engine.base import EngineInfo, EngineStats, GenerationRequest
from gateway.engine.embedded.adapter_file import HostAdapter, LayerShape, read_adapter
from gateway.engine.embedded.constraint import ConstraintFactory
from gateway.engine.embedded.emitter import Emitter
from gateway.engine.embedded.loading import load_model
from gateway.engine.embedded.options import EngineOptions
from gateway.engine.embedded.residency import Residency
from gateway.engine.embedded.rows import Row, Submission
from gateway.engine.embedded.runner import Runner
from gateway.engine.embedded.scheduler import Scheduler
from gateway.engine.embedded.stream import Outbox
from gateway.engine.embedded.threads import run_apart
from gateway.engine.requests import check_request
from gateway.engine.stream import DeltaStream
from gateway.engine.text import HuggingFaceText
from gateway.errors import EngineFault, GatewayError, QueueFull
from gateway.registry.base import AtHand, here
from gateway.registry.values import AdapterArtifact

log = logging.getLogger(__name__)

# Steps that fail one after the other before the engine calls itself unhealthy.
_FAULTS_TO_UNHEALTHY = 3


class EmbeddedEngine:
    """One base model and many adapters in this process. See `gateway.engine.base.Engine`."""

    def __init__(
        self,
        model_path: Path,
        *,
        name: str,
        fingerprint: str,
        options: EngineOptions,
        at_hand: AtHand = here,
    ) -> None:
        """Load the model at `model_path`. `at_hand` brings an adapter's files here. Raises BadInput
        where the model cannot be run here."""
        if options.threads:
            torch.set_num_threads(options.threads)
        self._threads = torch.get_num_threads()
        self._options = options
        self._at_hand = at_hand
        self._model = run_apart(lambda: load_model(model_path, options))
        self._text = HuggingFaceText(model_path)
        self._constraints = ConstraintFactory(self._text.tokenizer, self._model.vocab_size)
        self._cache = self._model.new_cache(options.max_rows)
        self._shapes = {
            layer.name: LayerShape(layer.in_features, layer.out_features)
            for layer in self._model.layers.values()
        }
        self._residency = Residency(
            layers=self._model.layers,
            slots=options.slots,
            host_bytes=options.host_bytes,
            drain_after_s=options.drain_after_s,
            read=self._read_adapter,
            on_change=self._wake_up,
        )
        self._scheduler = Scheduler(options)
        self._runner = Runner(self._model, self._cache, self._residency.tensors)
        self._outbox = Outbox()
        self._emitter = Emitter(self._text, self._outbox, max_len=self._model.max_len)
        self._info = EngineInfo(
            kind="embedded",
            model=name,
            fingerprint=fingerprint,
            architecture=self._model.architecture,
            device=str(self._model.device),
            dtype=str(self._model.dtype).removeprefix("torch."),
            vocab_size=self._model.vocab_size,
            max_len=self._model.max_len,
            max_rows=options.max_rows,
            max_queue=options.max_queue,
            slots=options.slots,
            max_rank=options.max_rank,
        )
        self._wake = threading.Condition()  # guards the fields below, up to _thread
        self._inbox: deque[Submission] = deque()
        self._pending = {False: 0, True: 0}  # rows in the inbox or waiting; True: background
        self._accepting = False
        self._stopping = False
        self._dirty = False  # something to look at: inbox, cancellation, finished load
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._live: list[Submission] = []  # the engine thread's own from here on
        self._refused: list[tuple[Submission, GatewayError]] = []  # adapters that did not load
        self._request_seconds = 1.0  # running mean of finished requests, for Retry-After
        self._steps = 0
        self._preemptions = 0
        self.adapter_use = AdapterUseCounts()
        self._faults_in_a_row = 0

    # The Engine protocol.

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def text(self) -> HuggingFaceText:
        return self._text

    def start(self) -> None:
        """Start the engine and loader threads."""
        self._residency.start()
        self._accepting = True
        self._thread.start()

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """See `Engine.generate`."""
        check_request(request, self._info)
        constraint = self._compiled_constraint(request)
        submission = Submission(
            request,
            DeltaStream(request.n, lambda: self._cancel(submission)),
            constraint,
            submitted_at=time.monotonic(),
        )
        with self._wake:
            if not self._accepting:
                raise EngineFault("the engine is stopping and takes no new requests")
            options, background = self._options, request.background
            waiting = self._pending[background]
            bound = options.background_queue if background else options.max_queue
            if waiting + request.n > bound:
                what = "background requests" if background else "requests"
                raise QueueFull(
                    f"{waiting} {what} are waiting, the queue holds {bound}; try again later",
                    retry_after_s=self._retry_after_s(),
                )
            self._pending[background] += request.n
            self._inbox.append(submission)
            self._dirty = True
            self._wake.notify()
        return submission.stream

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """See `Engine.check_schema`."""
        self._constraints.compile(schema)

    def check_adapter(self, adapter: AdapterArtifact) -> None:
        """See `Engine.check_adapter`."""
        run_apart(lambda: self._read_adapter(adapter))

    async def make_resident(self, adapter: AdapterArtifact) -> None:
        """See `Engine.make_resident`."""
        await asyncio.wrap_future(self._residency.ensure(adapter))

    def set_pinned(self, digests: Collection[str]) -> None:
        """See `Engine.set_pinned`."""
        self._residency.set_pinned(digests)

    def stats(self) -> EngineStats:
        """See `Engine.stats`. Read without stopping the engine: a moment's figures."""
        running, background = list(self._scheduler.running), list(self._scheduler.background)
        residency = self._residency
        return EngineStats(
            running_rows=len(running),
            queue_depth=self._pending[False],
            kv_tokens_used=sum(row.computed for row in (*running, *background)),
            kv_tokens_total=self._cache.rows * self._cache.max_len,
            resident_adapters=residency.resident(),
            pinned_adapters=residency.pinned(),
            adapter_loads=residency.loads,
            adapter_load_failures=residency.load_failures,
            adapter_evictions=residency.evictions,
            adapter_load_seconds=residency.load_seconds,
            weights_bytes=self._model.weights_bytes,
            slots_bytes=residency.tensors.nbytes,
            kv_bytes=self._cache.nbytes,
            steps=self._steps,
            tokens_generated=self._emitter.tokens_generated,
            healthy=self._thread.is_alive() and self._faults_in_a_row < _FAULTS_TO_UNHEALTHY,
            background_rows=len(background),
            background_queue_depth=self._pending[True],
            background_preemptions=self._preemptions,
            adapter_use=self.adapter_use.reading(
                reads=residency.reads, memory_bytes=residency.memory_bytes
            ),
        )

    async def close(self, grace_s: float = 0.0) -> None:
        """See `Engine.close`."""
        with self._wake:
            self._accepting = False
        if self._thread.is_alive():
            await asyncio.to_thread(self._drain_and_stop, grace_s)
        await asyncio.to_thread(self._residency.close)

    # Callers' side.

    def _compiled_constraint(self, request: GenerationRequest) -> Any:
        sampling = request.sampling
        if sampling.json_schema is None and not sampling.json_object:
            return None
        return self._constraints.compile(sampling.json_schema)

    def _read_adapter(self, adapter: AdapterArtifact) -> HostAdapter:
        with self._at_hand(adapter):
            return read_adapter(
                adapter,
                shapes=self._shapes,
                base_fingerprint=self._info.fingerprint,
                max_rank=self._options.max_rank,
                dtype=self._model.dtype,
            )

    def _retry_after_s(self) -> float:
        """When a place should be free: the rows ahead, at the recent time a request takes."""
        waves = self._pending[False] / self._options.max_rows
        return max(1.0, round(waves * self._request_seconds, 1))

    def _cancel(self, submission: Submission) -> None:
        with self._wake:
            submission.cancelled = True
            self._dirty = True
            self._wake.notify()

    def _wake_up(self) -> None:
        with self._wake:
            self._dirty = True
            self._wake.notify()

    def _drain_and_stop(self, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        with self._wake:
            # Nobody waits for background work: it ends now.
            while self._has_live_requests() and time.monotonic() < deadline:
                self._wake.wait(deadline - time.monotonic())
            self._stopping = True
            self._dirty = True
            self._wake.notify_all()
        self._thread.join()

    def _has_live_requests(self) -> bool:
        known = [*self._inbox, *self._live]
        return any(not submission.request.background for submission in known)

    # The engine thread.

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        while True:
            with self._wake:
                # A waiting row is looked at again when something changed: a row ended (which is
                # this thread's own doing) or a load did (which sets _dirty).
                while not self._dirty and not self._scheduler.has_work:
                    self._wake.wait()
                self._dirty = False
                arrived, self._inbox = self._inbox, deque()
                stopping = self._stopping
            self._take_in(arrived)
            if stopping:
                for submission in list(self._live):
                    submission.cancelled = True
            self._drop_cancelled()
            if stopping:
                self._outbox.flush()
                return
            self._admit()
            self._step()
            self._outbox.flush()

    def _take_in(self, arrived: deque[Submission]) -> None:
        for submission in arrived:
            self._live.append(submission)
            request = submission.request
            for choice in range(request.n):
                self._scheduler.add(self._emitter.new_row(submission, choice))
                if request.adapter is not None and not request.background:
                    self.adapter_use.came(hit=self._residency.expect(request.adapter))

    def _drop_cancelled(self) -> None:
        for submission in [s for s in self._live if s.cancelled]:
            for row in self._rows_of(submission):
                self._end(row)
                self._emitter.cancelled(row)

    def _admit(self) -> None:
        self._scheduler.admit(self._cache.free_rows, self._try_admit)
        in_the_way = self._scheduler.in_the_way(self._cache.free_rows)
        for row in in_the_way:
            self._preempt(row)
        if in_the_way:
            self._scheduler.admit(self._cache.free_rows, self._try_admit)
        refused, self._refused = self._refused, []
        for submission, error in refused:
            if submission in self._live:  # a choice before it may have ended the whole request
                self._fail(submission, error)

    def _try_admit(self, row: Row, has_place: bool) -> bool:
        adapter = row.request.adapter
        if adapter is not None:
            try:
                slot = self._residency.acquire(
                    adapter, background=row.is_background, urgent=has_place
                )
            except GatewayError as error:
                self._refused.append((row.submission, error))
                return False
            if slot is None:
                if has_place and row.lacking_since is None:
                    row.lacking_since = time.monotonic()
                return False
            row.slot = slot
            if row.lacking_since is not None and not row.is_background:
                self.adapter_use.waited(self._residency.waited(slot, row.lacking_since))
            row.lacking_since = None
        row.kv_row = self._cache.take()
        with self._wake:
            self._pending[row.is_background] -= 1
        return True

    def _preempt(self, row: Row) -> None:
        self._give_back(row)
        self._scheduler.preempt(row)
        self._preemptions += 1
        with self._wake:
            self._pending[True] += 1

    def _give_back(self, row: Row) -> None:
        self._cache.give(row.kv_row)
        if row.slot is not None:
            self._residency.release(row.slot)

    def _step(self) -> None:
        step = self._scheduler.next_step()
        if step.is_empty:
            return
        try:
            result = self._runner.run(step)
            ended = self._emitter.emit(result)
            self._faults_in_a_row = 0
        except Exception:
            log.exception("an engine step failed; its requests end with an error")
            self._faults_in_a_row += 1
            rows = [*step.decode, *(chunk.row for chunk in step.prefill)]
            for submission in {row.submission for row in rows}:
                self._fail(submission, EngineFault("the engine failed while generating"))
            return
        self._steps += 1
        for row in ended:
            self._end(row)

    def _fail(self, submission: Submission, error: GatewayError) -> None:
        for row in self._rows_of(submission):
            self._end(row)
        self._outbox.put(submission.stream, error)

    def _rows_of(self, submission: Submission) -> list[Row]:
        return [row for row in self._scheduler.rows if row.submission is submission]

    def _end(self, row: Row) -> None:
        """Free everything the row held, and have the waiting rows looked at again."""
        self._scheduler.drop(row)
        if row.kv_row >= 0:
            self._give_back(row)
        else:
            with self._wake:
                self._pending[row.is_background] -= 1
            if row.request.adapter is not None:
                self._residency.withdraw(row.request.adapter.digest, background=row.is_background)
        if not self._rows_of(row.submission):
            self._live.remove(row.submission)
            if not row.is_background:
                took = time.monotonic() - row.submission.submitted_at
                self._request_seconds += 0.1 * (took - self._request_seconds)
        with self._wake:
            self._dirty = True
            self._wake.notify_all()  # close() may be waiting for the last one
