"""One request from decision to deltas: resolve, generate, measure, restart, log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from gateway.api.asker import Asker
from gateway.api.callers import ANYBODY, Caller
from gateway.api.inflight import InFlight, RouteChanged
from gateway.api.limits import AnswerLimits
from gateway.control.plane import ControlPlane
from gateway.engine.base import Delta, Engine, FinishReason, GenerationRequest, SamplingParams
from gateway.errors import (
    AdapterRejected,
    AnswerTooSlow,
    EngineFault,
    GatewayError,
    NotFound,
    QueueFull,
    ServerLost,
)
from gateway.guard.feedback import RecentAnswers
from gateway.guard.shadows import Shadows
from gateway.guard.transcript import Transcript
from gateway.guard.watch import Watch
from gateway.metrics import Metrics
from gateway.nearest import nearest
from gateway.routing.falling_back import next_decision
from gateway.routing.table import Decision, ErrorClass, Target

log = logging.getLogger("gateway.requests")

_ANSWERED = ("ok", "cancelled")  # outcomes that a reader may have an opinion on


@dataclass(frozen=True, slots=True)
class Services:
    """What answering needs, made once at start."""

    plane: ControlPlane
    engine: Engine
    metrics: Metrics
    in_flight: InFlight
    watch: Watch
    recent: RecentAnswers
    shadows: Shadows
    limits: AnswerLimits = field(default_factory=AnswerLimits)

    def decide(
        self, workflow: str, caller: Caller = ANYBODY, asker: Asker | None = None
    ) -> Decision:
        """The decision for `workflow`, where a canary runs that of the asker's arm. Raises
        NotFound naming the nearest one.

        A workflow that the caller's key does not allow is none for it, and no hint names one:
        a client is not to learn what else is served here.
        """
        table = self.plane.table
        decision = table.resolve(workflow, None if asker is None else asker.key)
        if decision is None or not caller.may_use(workflow):
            near = nearest(workflow, [name for name in table.decisions if caller.may_use(name)])
            hint = f"; did you mean {near!r}?" if near else ""
            whose = " for this key" if caller.key_name else ""
            error = NotFound(
                f"there is no workflow {workflow!r}{whose}{hint}", param="model", nearest=near
            )
            error.code = "model_not_found"
            raise error
        return decision


Sampling = Callable[[Decision], SamplingParams]


@dataclass
class Answer:
    """One request for `n` choices of one prompt, over however many attempts it takes."""

    services: Services
    asker: Asker
    workflow: str
    prompt: tuple[int, ...]
    sampling: Sampling
    n: int = 1
    arrived: float = field(default_factory=time.monotonic)
    decision: Decision | None = None
    tokens_out: int = 0
    caller: Caller = ANYBODY
    transcript: Transcript | None = None  # where the route has a guard or a shadow
    asked: GenerationRequest | None = None  # of the engine, last
    next_decision: Decision | None = None  # of the next attempt, where the last one fell back
    lost_by: str = ""  # the server that broke off while it answered; it was asked once more
    # The targets that failed it, each with the error that sent it on.
    fallen: list[tuple[Target, ErrorClass]] = field(default_factory=list)

    @property
    def request_id(self) -> str:
        return self.asker.request_id

    @property
    def headers(self) -> dict[str, str]:
        """What the decision was, for the client."""
        headers = {"x-request-id": self.request_id, **decision_headers(self.decision)}
        if self.fallen:
            headers["x-gateway-fallback"] = ", ".join(f"{t};{kind}" for t, kind in self.fallen)
        return headers

    async def deltas(self, *, streamed: bool) -> AsyncIterator[Delta]:
        """The deltas of the answer, all of one model.

        `streamed`: each delta reaches the client as it is taken, so that a restart after the first
        raises RouteChanged. Otherwise all are held back until the last, and a restart begins anew.
        """
        running = self.services.in_flight.add(self.workflow)
        left_s = self.services.limits.seconds - (time.monotonic() - self.arrived)
        timer = asyncio.get_running_loop().call_later(max(0.0, left_s), running.expire)
        outcome, last, stopping = "cancelled", self.arrived, False
        self.tokens_out = 0
        try:
            while True:
                held: list[Delta] = []
                decision = self.next_decision or self.services.decide(
                    self.workflow, asker=self.asker
                )
                self.decision, self.next_decision = decision, None
                running.decision = decision
                running.restart = False
                route = decision.route
                watched = route.guard is not None or route.shadow is not None
                self.transcript = Transcript(self.n, self.arrived) if watched else None
                try:
                    self.asked = self._request(decision)
                    running.stream = stream = self.services.engine.generate(self.asked)
                    async for delta in stream:
                        if running.expired:
                            break
                        if running.restart:
                            break
                        if delta.finish is FinishReason.CANCELLED:
                            self.transcript = None  # no fault of what answers
                            stopping = True
                            raise EngineFault("the gateway is stopping")
                        if delta.token_ids:
                            last = self._count(len(delta.token_ids), last)
                        if self.transcript is not None:
                            self.transcript.add(delta, last)
                        if streamed:
                            running.sent = True
                            yield delta
                        else:
                            held.append(delta)
                except AdapterRejected as error:
                    # It left the disk or was damaged there since its route was accepted.
                    self.services.plane.lose(decision.target, error.message)
                    if running.sent:
                        raise
                    running.restart = True
                except (EngineFault, QueueFull) as error:
                    final = running.sent or running.expired or stopping
                    if final or not (
                        self._again(decision, error) or self._fall_back(decision, error)
                    ):
                        raise
                    self.tokens_out = 0
                    continue
                if running.expired:
                    raise AnswerTooSlow(
                        f"the request took more than its {self.services.limits.seconds:g} s; ask "
                        "for less, or ask again"
                    )
                if not running.restart:
                    break
                if running.sent:
                    raise RouteChanged(
                        f"workflow {self.workflow} was taken off {decision.target}; ask again"
                    )
                self.tokens_out = 0
            running.sent = True
            for delta in held:
                yield delta
            outcome = "ok"
        except GatewayError as error:
            outcome = error.code
            raise
        finally:
            timer.cancel()
            if running.stream is not None:
                running.stream.cancel()
            self.services.in_flight.remove(running)
            self._finish(outcome)

    def _again(self, decision: Decision, error: EngineFault | QueueFull) -> bool:
        """Whether the same is asked once more: of an answer that is held back until it is whole,
        nobody has seen the part that was lost with its server. Once: what broke two servers may
        break them all."""
        if self.lost_by or not isinstance(error, ServerLost):
            return False
        self.lost_by = error.server
        if self.fallen:  # not back to what failed it before
            self.next_decision = decision
        return True

    def _fall_back(self, decision: Decision, error: EngineFault | QueueFull) -> bool:
        """Whether the route sends a request that failed so on to another target; then it does."""
        kind = ErrorClass.OVERLOAD if isinstance(error, QueueFull) else ErrorClass.ENGINE
        failed = {decision.target, *(target for target, _ in self.fallen)}
        plane = self.services.plane
        following = next_decision(decision, failed, kind, plane.can_serve)
        if following is None:
            return False
        self.fallen.append((decision.target, kind))
        self.next_decision = following
        self.services.metrics.fallbacks.labels(
            self.workflow, str(decision.target), str(following.target), kind.value
        ).inc()
        if self.transcript is not None:
            self._observe(decision, self.transcript, error.code)
        return True

    def _count(self, tokens: int, last: float) -> float:
        """Note `tokens` new ones; `last` is when the ones before came. Returns when these did."""
        now = time.monotonic()
        metrics = self.services.metrics
        histogram = metrics.between_tokens if self.tokens_out else metrics.first_token
        histogram.labels(self.workflow).observe(now - last)
        self.tokens_out += tokens
        self.caller.spend(tokens)
        return now

    def _request(self, decision: Decision) -> GenerationRequest:
        digest = decision.target.digest
        return GenerationRequest(
            request_id=self.request_id,
            prompt=self.prompt,
            sampling=self.sampling(decision),
            adapter=None if digest is None else self.services.plane.artifacts[digest],
            n=self.n,
            not_on=self.lost_by,
        )

    def _finish(self, outcome: str) -> None:
        metrics, decision = self.services.metrics, self.decision
        took = time.monotonic() - self.arrived
        target = str(decision.target) if decision else ""
        reason = decision.reason.value if decision else ""
        metrics.requests.labels(self.workflow, target, reason, outcome).inc()
        metrics.duration.labels(self.workflow).observe(took)
        metrics.tokens_in.labels(self.workflow).inc(len(self.prompt))
        metrics.tokens_out.labels(self.workflow).inc(self.tokens_out)
        fields = {
            "request_id": self.request_id,
            "key": self.caller.key_name,
            "workflow": self.workflow,
            "target": target,
            "reason": reason,
            "revision": decision.revision if decision else None,
            "outcome": outcome,
            "prompt_tokens": len(self.prompt),
            "completion_tokens": self.tokens_out,
            "duration_ms": round(took * 1e3, 1),
        }
        log.info("request", extra={"fields": fields})
        if decision is not None and outcome in _ANSWERED:
            self.services.recent.note(self.request_id, decision)
        if decision is not None and self.transcript is not None:
            self._observe(decision, self.transcript, outcome)

    def _observe(self, decision: Decision, transcript: Transcript, outcome: str) -> None:
        """Hand the answer to guard and shadow. Neither waits."""
        answered = transcript.answered(outcome)
        if decision.route.guard is not None:
            for seen in answered:
                self.services.watch.observe(decision, seen)
        if decision.route.shadow is not None and outcome == "ok" and self.asked is not None:
            self.services.shadows.observe(
                decision, self.asked, answered[0], transcript.first_tokens
            )


def decision_headers(decision: Decision | None) -> dict[str, str]:
    """The decision as response headers."""
    if decision is None:
        return {}
    return {
        "x-gateway-workflow": decision.workflow,
        "x-gateway-target": str(decision.target),
        "x-gateway-revision": str(decision.revision),
        "x-gateway-reason": decision.reason.value,
    }
