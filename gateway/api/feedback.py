"""`POST /v1/feedback`: what the product, or a person in it, says of an answer.

It is joined to the decision that the answer was of, counted in the metrics, and scored by the
route's guard where it has a `feedback` check. Texts go nowhere, except a comment to the log where
the operator allows it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, model_validator

from gateway.api import shapes
from gateway.api.answering import Services
from gateway.api.callers import Caller
from gateway.api.gates import caller_of
from gateway.api.schemas import Body
from gateway.errors import NotFound
from gateway.guard.detectors import Scored
from gateway.guard.feedback import RecentAnswers
from gateway.guard.values import CheckKind
from gateway.routing.table import Decision, Reason

log = logging.getLogger("gateway.feedback")

_LABELS = {"good": 1.0, "bad": 0.0}
_PREFIXES = ("chatcmpl-", "cmpl-")  # what an answer's `id` has before the request's
_MOST_CHARACTERS = 2000


class FeedbackRequest(Body):
    """`POST /v1/feedback`: a score or a label for one answer."""

    request_id: str = Field(
        pattern=r"^[A-Za-z0-9._:-]{1,140}$",
        description="the answer's `x-request-id`, or the `id` in its body",
    )
    score: float | None = Field(default=None, ge=0, le=1, description="1 is good, 0 is bad")
    label: Literal["good", "bad"] | None = Field(
        default=None, description="in place of a score: 1 or 0"
    )
    comment: str | None = Field(
        default=None,
        max_length=_MOST_CHARACTERS,
        description="dropped, unless the operator has comments written to the log",
    )
    workflow: str | None = Field(
        default=None,
        min_length=1,
        description="the answer's `x-gateway-workflow`; with target and revision it lets a gateway "
        "take the feedback that does not know the request",
    )
    target: str | None = Field(
        default=None, min_length=1, description="the answer's `x-gateway-target`"
    )
    revision: int | None = Field(
        default=None, ge=0, description="the answer's `x-gateway-revision`"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> FeedbackRequest:
        if (self.score is None) == (self.label is None):
            raise ValueError("send a score or a label, one of them")
        if len({value is None for value in (self.workflow, self.target, self.revision)}) > 1:
            raise ValueError("workflow, target and revision go together; send all or none")
        return self

    @property
    def goodness(self) -> float:
        """The score, also of a label."""
        return _LABELS[self.label] if self.label is not None else self.score or 0.0

    @property
    def answer_id(self) -> str:
        """The request's id, also from an answer's own."""
        for prefix in _PREFIXES:
            if self.request_id.startswith(prefix):
                return self.request_id.removeprefix(prefix)
        return self.request_id


class FeedbackTaken(BaseModel):
    """What the feedback was joined to."""

    object: Literal["feedback"] = "feedback"
    request_id: str
    workflow: str
    target: str = Field(description="what answered: base or name@version")
    revision: int
    reason: Reason
    score: float
    repeated: bool = Field(description="the same was said before; it is counted once")


class Desk:
    """Takes feedback. Belongs to the inference app's event loop."""

    def __init__(self, services: Services, *, comments: bool) -> None:
        self._services = services
        self._comments = comments
        # Apart from what was answered here, so that no client can push that out.
        own = services.recent
        self._told = RecentAnswers(own.size, own.age_s)

    def take(self, body: FeedbackRequest, caller: Caller) -> FeedbackTaken:
        """Join `body` to its decision, and count it. Raises NotFound, NotAllowed."""
        request_id, score = body.answer_id, body.goodness
        answers, decision = self._find(request_id, body, caller)
        first = answers.rate(request_id, score)
        target = str(decision.target)
        if first:
            metrics = self._services.metrics
            metrics.feedback.labels(decision.workflow, target).inc()
            metrics.feedback_score.labels(decision.workflow, target).inc(score)
            if decision.route.guard is not None:
                self._services.watch.observe(decision, Scored(CheckKind.FEEDBACK, 1.0 - score))
            self._log(request_id, body, caller, decision)
        return FeedbackTaken(
            request_id=request_id,
            workflow=decision.workflow,
            target=target,
            revision=decision.revision,
            reason=decision.reason,
            score=score,
            repeated=not first,
        )

    def _find(
        self, request_id: str, body: FeedbackRequest, caller: Caller
    ) -> tuple[RecentAnswers, Decision]:
        for answers in (self._services.recent, self._told):
            decision = answers.find(request_id)
            if decision is not None and caller.may_use(decision.workflow):
                return answers, decision
        told = self._told_by(body, caller)
        if told is None:
            self._services.metrics.feedback_unknown.inc()
            raise self._unknown(request_id, body)
        self._told.note(request_id, told)
        return self._told, told

    def _told_by(self, body: FeedbackRequest, caller: Caller) -> Decision | None:
        """The decision that the client sends back from the answer's headers, where it is one of
        the version that answers the workflow now."""
        if body.workflow is None or body.revision is None or self._told.size == 0:
            return None
        table = self._services.plane.table
        live = table.resolve(body.workflow)
        if live is None or not caller.may_use(body.workflow) or body.revision > table.revision:
            return None
        for arm in (live, live.canary_arm):
            if arm is not None and str(arm.target) == body.target:
                return replace(arm, revision=body.revision)
        return None

    def _unknown(self, request_id: str, body: FeedbackRequest) -> NotFound:
        recent = self._services.recent
        known = (
            f"request {request_id} is not known to this gateway: it keeps the last {recent.size} "
            f"answers, for {recent.age_s:g} s and until it restarts"
        )
        remedy = (
            "send the answer's x-gateway-workflow, x-gateway-target and x-gateway-revision along "
            "as workflow, target and revision"
            if body.workflow is None
            else f"and {body.target} is not what answers {body.workflow} now, so feedback on it "
            "would change nothing"
        )
        error = NotFound(f"{known}; {remedy}", param="request_id")
        error.code = "unknown_request"
        return error

    def _log(
        self, request_id: str, body: FeedbackRequest, caller: Caller, decision: Decision
    ) -> None:
        fields: dict[str, Any] = {
            "request_id": request_id,
            "key": caller.key_name,
            "workflow": decision.workflow,
            "target": str(decision.target),
            "reason": decision.reason.value,
            "revision": decision.revision,
            "score": body.goodness,
        }
        if self._comments and body.comment is not None:
            fields["comment"] = body.comment
        log.info("feedback", extra={"fields": fields})


def feedback_routes(services: Services, *, comments: bool) -> APIRouter:
    """The route `/v1/feedback`."""
    router = APIRouter()
    desk = Desk(services, comments=comments)

    @router.post("/v1/feedback", responses=shapes.answered(FeedbackTaken))
    async def feedback(body: FeedbackRequest, request: Request) -> FeedbackTaken:
        """Say how good an answer was; it is joined to what answered, and the guard weighs it."""
        return desk.take(body, caller_of(request))

    return router
