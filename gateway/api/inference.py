"""The inference API: what an OpenAI client expects, on top of `Answer`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.api import errors, shapes, telemetry, wire
from gateway.api.answering import Answer, Services
from gateway.api.asker import Asker
from gateway.api.bodies import WholeBody
from gateway.api.callers import LiveKeys
from gateway.api.described_keys import describe_keys
from gateway.api.feedback import feedback_routes
from gateway.api.gates import ClientGate, caller_of, needs_key
from gateway.api.limits import BodyLimits
from gateway.api.readiness import may_see_detail, readiness
from gateway.api.request_id import RequestIds, request_id_of
from gateway.api.schemas import ChatRequest, CompletionRequest
from gateway.engine.base import Delta, TextCodec
from gateway.errors import BadInput, GatewayError, RateLimited
from gateway.routing.table import Decision

_SHORT = 2000  # characters of a conversation: about a millisecond of the tokenizer


def create_inference_app(
    services: Services,
    keys: LiveKeys,
    *,
    body: BodyLimits,
    require_keys: bool = False,
    feedback_comments: bool = False,
) -> FastAPI:
    """The app of port 8000. `require_keys`: also before the first client key was made.
    `feedback_comments`: comments of feedback go to the log."""
    app = FastAPI(
        title="Model-routing gateway",
        docs_url=None,
        redoc_url=None,
        responses=shapes.FAULTS,
        telemetry=telemetry.OFF,
    )
    errors.install(app)
    app.add_middleware(WholeBody, limits=body)
    app.add_middleware(ClientGate, keys=keys, metrics=services.metrics, required=require_keys)
    app.add_middleware(RequestIds)
    engine = services.engine

    @app.post("/v1/chat/completions", responses=shapes.answered(shapes.ChatCompletion, stream=True))
    async def chat(body: ChatRequest, request: Request) -> Response:
        """An answer to a conversation, whole or as server-sent events."""
        caller, asker = caller_of(request), _asker(request, body.user)
        decision = services.decide(body.model, caller, asker)
        messages = [message.plain() for message in body.messages]
        prompt = tuple(await _encoded(engine.text, messages))
        room = _room(services, prompt, "messages")
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        body.sampling(decision.route, room=room, logprobs=logprobs)  # refuse before anything runs
        answer = Answer(
            services,
            asker,
            body.model,
            prompt,
            lambda d: body.sampling(d.route, room=room, logprobs=logprobs),
            n=body.n or 1,
            caller=caller,
        )
        shape = wire.Chat(f"chatcmpl-{answer.request_id}", body.model, int(time.time()))
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return await _answer([answer], shape, request, stream=body.stream, usage=usage)

    @app.post("/v1/completions", responses=shapes.answered(shapes.TextCompletion, stream=True))
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Text that goes on from a prompt; with `echo` and `logprobs`, the prompt's scores."""
        caller, asker = caller_of(request), _asker(request, body.user)
        decision = services.decide(body.model, caller, asker)
        scored = body.logprobs if body.echo else None
        answers = []
        for text in body.prompts():
            ids = engine.text.encode(text) if isinstance(text, str) else text
            prompt = tuple(ids)
            room = _room(services, prompt, "prompt")

            def sampling(d: Decision, room: int = room) -> Any:
                return body.sampling(
                    d.route, room=room, logprobs=body.logprobs, prompt_logprobs=scored
                )

            sampling(decision)
            answers.append(
                Answer(
                    services,
                    asker,
                    body.model,
                    prompt,
                    sampling,
                    n=body.n or 1,
                    caller=caller,
                )
            )
        if body.stream and (len(answers) > 1 or body.echo):
            raise BadInput("stream works with one prompt and without echo", param="stream")
        shape = wire.Completion(
            f"cmpl-{asker.request_id}", body.model, int(time.time()), body.echo, engine.text
        )
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return await _answer(answers, shape, request, stream=body.stream, usage=usage)

    app.include_router(feedback_routes(services, comments=feedback_comments))

    @app.get("/v1/models", responses=shapes.answered(shapes.ModelList))
    async def models(request: Request) -> dict[str, Any]:
        """Every workflow, as a model."""
        caller = caller_of(request)
        decisions = services.plane.table.decisions
        listed = [wire.model(decisions[name]) for name in decisions if caller.may_use(name)]
        return {"object": "list", "data": listed}

    @app.get("/v1/models/{name}", responses=shapes.answered(shapes.Model))
    async def one_model(name: str, request: Request) -> dict[str, Any]:
        """One workflow, as a model."""
        return wire.model(services.decide(name, caller_of(request)))

    @app.get("/health/live", responses=shapes.answered(shapes.Alive))
    async def live() -> dict[str, str]:
        """Whether the process runs."""
        return {"status": "alive"}

    @app.get(
        "/health/ready",
        responses={**shapes.answered(shapes.Readiness), 503: {"model": shapes.Readiness}},
    )
    async def ready(request: Request) -> JSONResponse:
        """Whether requests can be served (503 where not), with the revision, log and file."""
        detailed = may_see_detail(keys, request.scope["headers"])
        said = readiness(services.plane, engine, detailed=detailed)
        return JSONResponse(said, 200 if said["ready"] else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return PlainTextResponse(
            generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST
        )

    describe_keys(app, needs_key, "A client key (at /metrics an operator key)")
    return app


async def _encoded(text: TextCodec, messages: list[dict[str, Any]]) -> list[int]:
    """A conversation's tokens. A long one is cut beside the event loop; for a short one the way to
    a thread and back takes longer than the work."""
    if sum(len(str(message.get("content"))) for message in messages) <= _SHORT:
        return text.encode_chat(messages)
    return await asyncio.to_thread(text.encode_chat, messages)


async def _answer(
    answers: list[Answer], shape: wire.Shape, request: Request, *, stream: bool, usage: bool
) -> Response:
    """The whole answer, or its stream, with the decision's headers; errors carry them too."""
    try:
        _admit(answers)
        if stream:
            return await _streamed(answers[0], shape, request, usage=usage)
        gone = asyncio.create_task(_disconnected(request))
        work = asyncio.create_task(_collect(answers))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return Response(status_code=499)  # nobody is there to read it
            parts = work.result()
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        return JSONResponse(shape.whole(answers, parts), headers=answers[0].headers)
    except GatewayError as error:
        return errors.respond(error, answers[0].headers, request_id=answers[0].request_id)


def _admit(answers: list[Answer]) -> None:
    """Count the prompts against the key's tokens. Raises RateLimited."""
    try:
        answers[0].caller.admit(sum(len(answer.prompt) for answer in answers))
    except RateLimited as error:
        answers[0].services.metrics.refuse(error)
        raise


async def _collect(answers: list[Answer]) -> list[list[Delta]]:
    async def one(answer: Answer) -> list[Delta]:
        return [delta async for delta in answer.deltas(streamed=False)]

    if len(answers) == 1:
        return [await one(answers[0])]
    parts: dict[int, list[Delta]] = {}
    wanted = list(range(len(answers)))
    while wanted:
        tasks = [asyncio.create_task(one(answers[index])) for index in wanted]
        try:
            parts |= zip(wanted, await asyncio.gather(*tasks), strict=True)
        finally:
            for task in tasks:  # the first failure, or a client that left, ends the others
                task.cancel()
        # A route that changed on the way restarted some: the others follow, so that one answer is
        # never a mix of two models.
        targets = [answer.decision and answer.decision.target for answer in answers]
        if len(set(targets)) == 1:
            break
        first = answers[0]
        now = first.services.decide(first.workflow, first.caller, first.asker).target
        wanted = [index for index, target in enumerate(targets) if target != now]
    return [parts[index] for index in range(len(answers))]


async def _streamed(
    answer: Answer, shape: wire.Shape, request: Request, *, usage: bool
) -> Response:
    """Headers go out with the first delta, when it is certain which model answers."""
    deltas = answer.deltas(streamed=True)
    waiting = asyncio.ensure_future(anext(deltas))
    gone = asyncio.create_task(_disconnected(request))
    await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        return Response(status_code=499)
    try:
        first = waiting.result()
    except BaseException:
        gone.cancel()
        raise

    gone.cancel()  # from here on the server watches: it cancels what it reads from

    async def events() -> AsyncIterator[str]:
        try:
            opening = [*shape.opening(answer.n), shape.chunk(first)]
            yield "".join(map(_event, opening))
            async for delta in deltas:
                yield _event(shape.chunk(delta))
            if usage:
                yield _event(shape.usage_chunk([answer]))
            yield "data: [DONE]\n\n"
        except GatewayError as error:
            # Said in the stream, and no [DONE]: a broken answer must not look like a whole one.
            yield f"event: error\n{_event(errors.error_object(error, answer.request_id))}"

    headers = {**answer.headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


def _asker(request: Request, user: str | None) -> Asker:
    return Asker(request_id_of(request), user, request.headers)


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _room(services: Services, prompt: tuple[int, ...], param: str) -> int:
    """Tokens left for the answer. Raises BadInput where the prompt leaves none, or is over the
    gateway's own limit."""
    most = services.limits.prompt_tokens
    if most is not None and len(prompt) > most:
        raise BadInput(
            f"the prompt has {len(prompt)} tokens; this gateway takes {most}; shorten it",
            param=param,
            code="context_length_exceeded",
        )
    limit = services.engine.info.max_len
    if len(prompt) >= limit:
        raise BadInput(
            f"the prompt has {len(prompt)} tokens; this model's context holds {limit}, "
            "prompt and answer together; shorten it",
            param=param,
            code="context_length_exceeded",
        )
    return limit - len(prompt)
