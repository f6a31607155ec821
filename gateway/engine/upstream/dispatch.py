"""One request, from the servers to its stream: tried elsewhere while nothing of it was answered.

A task of its own for each request, so that what the servers send is read as it comes and a slow
client holds up no server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from uuid import uuid4

import aiohttp

from gateway.engine.base import Delta, FinishReason, GenerationRequest
from gateway.engine.detokenize import TokenTexts
from gateway.engine.stream import DeltaStream
from gateway.engine.text import HuggingFaceText
from gateway.engine.upstream.budget import RetryBudget
from gateway.engine.upstream.dialect import Dialect
from gateway.engine.upstream.faults import ELSEWHERE, Fault, ServerFault
from gateway.engine.upstream.fleet import Fleet
from gateway.engine.upstream.options import Timeouts
from gateway.engine.upstream.replica import Replica, Work
from gateway.engine.upstream.tries import Tries
from gateway.errors import (
    AdapterRejected,
    BadInput,
    EngineFault,
    EngineUnavailable,
    GatewayError,
    QueueFull,
    ServerLost,
)

log = logging.getLogger(__name__)

_READ_OUT_S = 1.0


@dataclass(eq=False)
class Progress:
    """What a request has had so far. `open` has its choices that have not ended."""

    request: GenerationRequest
    stream: DeltaStream
    open: set[int]
    begun: bool = False  # something of it was answered: from here on no other server can go on
    held: list[Delta] = field(default_factory=list)  # of background work, given out at its end

    def started(self) -> bool:
        """Note that a server answers; whether that is new."""
        new, self.begun = not self.begun, True
        return new

    def deliver(self, delta: Delta) -> None:
        """Give it to the client: for each choice, where one answer stands for all."""
        alike = range(self.request.n) if _alike(self.request) else (delta.index,)
        for index in alike:
            if delta.finish is not None:
                self.open.discard(index)
            one = delta if index == delta.index else replace(delta, index=index)
            if self.request.background:
                self.held.append(one)
            else:
                self.stream.deliver(one)


class Dispatcher:
    """Runs requests. Owned by the engine's event loop."""

    def __init__(
        self,
        fleet: Fleet,
        dialect: Dialect,
        text: HuggingFaceText,
        timeouts: Timeouts,
        retry_share: float,
        *,
        tries: Tries | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._dialect = dialect
        self._text = text
        self._texts = TokenTexts(text.tokenizer)
        self._timeouts = timeouts
        self._budget = RetryBudget(share=retry_share)
        self._tries = tries
        self._now = now
        self.model = ""  # the base's name at the servers
        self.waiting = 0  # choices without a token yet
        self.running = 0  # choices with one
        self.requests = 0
        self.retries = 0
        self.preemptions = 0
        self.tokens_generated = 0

    def start(
        self, request: GenerationRequest, stream: DeltaStream, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        """Answer `request` into `stream`, to its end or its error. The task may be cancelled at
        any time, also before it has run: the stream then ends as a cancelled one ends."""
        progress = _begin(request, stream)
        task = loop.create_task(self._run(progress), name=f"request {request.request_id}")

        def ended(done: asyncio.Task[None]) -> None:
            if done.cancelled():
                # Of background work nothing was given out yet.
                for index in range(request.n) if request.background else sorted(progress.open):
                    stream.deliver(Delta(index, "", (), finish=FinishReason.CANCELLED))

        task.add_done_callback(ended)
        return task

    async def _run(self, progress: Progress) -> None:
        request, stream = progress.request, progress.stream
        self.requests += 1
        if not request.background:
            self._budget = self._budget.requested()
            self.waiting += request.n
        try:
            if request.background:
                for delta in await self._answer_in_background(progress):
                    stream.deliver(delta)
            else:
                await self._answer(progress)
        except GatewayError as error:
            stream.deliver(error)
        except Exception:
            log.exception("request %s failed in the gateway", request.request_id)
            stream.deliver(EngineFault("the engine failed while generating"))
        finally:
            if request.background:
                pass
            elif progress.begun:
                self.running -= request.n
            else:
                self.waiting -= request.n

    async def _answer_in_background(self, progress: Progress) -> list[Delta]:
        """Where nothing else of this gateway runs, from its beginning as often as it has to give
        way. Its answer is given out whole."""
        while True:
            replica = await self._fleet.idle()
            try:
                await self._attempt(replica, progress)
                return progress.held
            except ServerFault as fault:
                replica.failed(fault.fault, self._now())
                if fault.fault is Fault.PREEMPTED:
                    self.preemptions += 1
                elif fault.fault not in (Fault.MISSING, Fault.EJECTED):
                    raise _error(progress.request, fault) from None
                elif fault.fault is Fault.MISSING and progress.request.adapter is not None:
                    replica.holdings.missing(progress.request.adapter.digest)
            progress = _begin(progress.request, progress.stream)

    async def _answer(self, progress: Progress) -> None:
        request = progress.request
        tried = {one for one in self._fleet.replicas if one.name == request.not_on}
        reloaded: set[Replica] = set()
        last: ServerFault | None = None
        count = 0
        while True:
            try:
                replica = self._fleet.pick(request, tried)
            except ServerFault as none_left:
                if last is None and tried:  # no other can take it
                    tried.clear()
                    continue
                raise _error(request, last or none_left) from None
            try:
                if self._tries is None:
                    await self._attempt(replica, progress)
                else:
                    with self._tries.trying(replica.name, self._dialect.generate, count):
                        await self._attempt(replica, progress)
                return
            except ServerFault as fault:
                last, count = fault, count + 1
                replica.failed(fault.fault, self._now())
                log.warning(
                    "request %s on %s: %s (%s)",
                    *(request.request_id, replica.name, fault.message, fault.fault.value),
                )
            if progress.begun:
                raise ServerLost("the engine failed while generating", server=replica.name)
            if last.fault not in ELSEWHERE:
                raise _error(request, last)
            if last.fault is Fault.MISSING and request.adapter is not None:
                # Another gateway took it out, or the server was started again: load it once more.
                replica.holdings.missing(request.adapter.digest)
                if replica not in reloaded:
                    reloaded.add(replica)
                    continue
            tried.add(replica)
            if not self._budget.allows():
                log.warning("request %s is not retried: the budget is spent", request.request_id)
                raise _error(request, last)
            self._budget = self._budget.retried()
            self.retries += 1

    async def _attempt(self, replica: Replica, progress: Progress) -> None:
        """One try on one server. Raises ServerFault."""
        request = progress.request
        with replica.working(request, self._now()) as work:
            try:
                async with asyncio.timeout(self._timeouts.load_s) as wait:
                    work.wait = wait
                    if request.adapter is None:
                        await self._stream(replica, work, progress, None)
                    else:
                        async with replica.holdings.using(request.adapter) as adapter:
                            await self._stream(replica, work, progress, adapter)
            except TimeoutError:
                if work.ejected is not None:
                    message = f"a request was sent away from {replica.name}"
                    raise ServerFault(work.ejected, message) from None
                step = "go on" if progress.begun else "send a first token"
                raise ServerFault(Fault.SLOW, f"{replica.name} did not {step} in time") from None
            except ServerFault:
                raise
            except BaseException:
                replica.abandoned()
                raise
            replica.succeeded(self._now())

    async def _stream(
        self, replica: Replica, work: Work, progress: Progress, adapter: str | None
    ) -> None:
        request = _asked(progress.request)
        reader = self._dialect.reader(request, self.model, adapter, self._text, self._texts)
        body = self._dialect.body(request, self.model, adapter, self._text)
        loop, idle_s = asyncio.get_running_loop(), self._timeouts.idle_s
        wait = work.wait
        assert wait is not None
        if work.ejected is not None:  # while its adapter was loaded: the limit is not moved again
            raise ServerFault(work.ejected, f"a request was sent away from {replica.name}")
        wait.reschedule(loop.time() + self._timeouts.first_token_s)
        # Unique: two requests of one id are refused by some servers.
        request_id = f"{request.request_id}-{uuid4().hex[:8]}"
        async with replica.server.answering(body, request_id) as arriving:
            async for events in arriving:
                tokens = 0
                for event in events:
                    for delta in reader.take(event):
                        if progress.started() and not request.background:
                            work.wait = None
                            replica.progressed(work, len(request.prompt))
                            self.waiting -= progress.request.n
                            self.running += progress.request.n
                        tokens += len(delta.token_ids)
                        progress.deliver(delta)
                    if reader.complete:
                        break
                replica.progressed(work, tokens)
                self.tokens_generated += tokens
                if reader.complete:
                    await _read_out(arriving)
                    return
                if progress.begun:
                    wait.reschedule(loop.time() + idle_s)
        raise ServerFault(Fault.BROKEN, f"{replica.name} ended the stream before the answer did")


async def _read_out(events: AsyncIterator[list[bytes]]) -> None:
    """Read what comes after an answer's end (`[DONE]`, the body's last chunk): a connection that is
    left before it cannot be used again. The client has its answer already."""
    with contextlib.suppress(TimeoutError, ServerFault, aiohttp.ClientError):
        async with asyncio.timeout(_READ_OUT_S):
            async for _ in events:
                pass


def _begin(request: GenerationRequest, stream: DeltaStream) -> Progress:
    return Progress(request, stream, set(range(request.n)))


def _alike(request: GenerationRequest) -> bool:
    """Whether its choices are the same: without chance there is one answer."""
    return request.n > 1 and request.sampling.temperature == 0


def _asked(request: GenerationRequest) -> GenerationRequest:
    """What a server is asked: of choices that are alike, one."""
    return replace(request, n=1) if _alike(request) else request


def _error(request: GenerationRequest, fault: ServerFault) -> GatewayError:
    """What the client is told. Which server it was is in the log alone."""
    match fault.fault:
        case Fault.FULL:
            return QueueFull(
                "every server has as many requests as it takes; try again later",
                retry_after_s=fault.retry_after_s,
            )
        case Fault.UNREACHABLE:
            return EngineUnavailable("no server of the model can be asked at present; try again")
        case Fault.ADAPTER_REFUSED:
            assert request.adapter is not None
            return AdapterRejected(
                f"adapter {request.adapter.ref}: {fault.message}", adapter=str(request.adapter.ref)
            )
        case Fault.REFUSED:
            return BadInput(f"the model's server refuses the request: {fault.message}")
        case _:
            return EngineFault("the engine failed while generating")
