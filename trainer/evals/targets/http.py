"""A running gateway's workflow, asked over HTTP as any client would: what is evaluated is what is
served, with the route's limits, defaults and schema.

Texts are scored by token ids, made here with the base model's tokenizer, so that the gateway and
an engine in this process score the very same tokens.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import httpx

from gateway.engine.continuation import PlainEncoder
from trainer.errors import EvaluationError
from trainer.evals.checks.base import Answered, Likelihood
from trainer.evals.suite import Generation
from trainer.evals.targets.base import Context, scored_tokens

_IN_FLIGHT = 16
_TIMEOUT_S = 120.0
_TRIES = 6  # of a request that a full queue turned away
_BUSY = frozenset({429, 503})


class HttpTarget:
    """One workflow of the gateway at `url` (`http://host:8000/v1`). See `Target`.

    Close it with `aclose`. Not for two event loops.
    """

    def __init__(
        self,
        url: str,
        workflow: str,
        *,
        text: PlainEncoder,
        base_fingerprint: str,
        key: str | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._workflow = workflow
        self._text = text
        self._base_fingerprint = base_fingerprint
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT_S, headers={"authorization": f"Bearer {key}"} if key else {}
        )
        self._room = asyncio.Semaphore(_IN_FLIGHT)
        self._served_by: str | None = None

    @property
    def name(self) -> str:
        return f"{self._workflow}@{urlsplit(self._url).netloc}"

    @property
    def base_fingerprint(self) -> str:
        return self._base_fingerprint

    @property
    def adapter_digest(self) -> str | None:
        """None: the gateway's answers do not carry it, so results of it are never reused."""
        return None

    @property
    def served_by(self) -> str | None:
        """What the workflow was routed to (`base` or `name@version`); None before any answer."""
        return self._served_by

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def answer(self, context: Context, generation: Generation) -> Answered:
        """See `Target.answer`."""
        body: dict[str, Any] = {
            "max_tokens": generation.max_tokens,
            "temperature": generation.temperature,
            "seed": generation.seed,
        }
        if generation.stop:
            body["stop"] = list(generation.stop)
        if context.messages:
            messages = [dict(message) for message in context.messages]
            found = await self._post("/chat/completions", {**body, "messages": messages})
            text = found["message"]["content"] or ""
        else:
            found = await self._post("/completions", {**body, "prompt": context.prompt})
            text = found["text"]
        return Answered(text, str(found["finish_reason"] or ""))

    async def score(self, context: Context, continuation: str) -> Likelihood:
        """See `Target.score`."""
        tokens, first = scored_tokens(self._text, context, continuation)
        if first >= len(tokens):
            return Likelihood(())
        body = {
            "prompt": list(tokens),
            "echo": True,
            "logprobs": 0,
            "max_tokens": 0,
            "temperature": 0,
        }
        found = await self._post("/completions", body)
        logprobs = (found["logprobs"] or {}).get("token_logprobs") or []
        if len(logprobs) != len(tokens):
            raise EvaluationError(
                f"{self._url} scored {len(logprobs)} of {len(tokens)} tokens; its engine cannot "
                "score prompts (echo with logprobs)"
            )
        return Likelihood(tuple(float(value) for value in logprobs[first:]))

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        """The first choice. Raises EvaluationError with what the gateway said."""
        async with self._room:
            answer = await self._sent(path, {"model": self._workflow, **body})
        try:
            data = answer.json()
            if answer.is_error:
                said = data["error"]["message"]
                raise EvaluationError(f"{self._url}{path}: {answer.status_code}: {said}")
            choice = data["choices"][0]
        except (ValueError, KeyError, IndexError, TypeError):
            raise EvaluationError(
                f"{self._url}{path} answered {answer.status_code} with no choice in it; is it "
                "an OpenAI-compatible API, with /v1 in the address?"
            ) from None
        self._check_route(answer.headers.get("x-gateway-target"))
        return choice

    async def _sent(self, path: str, body: dict[str, Any]) -> httpx.Response:
        for tried in range(_TRIES):
            try:
                answer = await self._client.post(f"{self._url}{path}", json=body)
            except httpx.HTTPError as error:
                raise EvaluationError(
                    f"{self._url} does not answer ({error or type(error).__name__}); "
                    "is the gateway running there?"
                ) from None
            if answer.status_code not in _BUSY or tried == _TRIES - 1:
                return answer
            await asyncio.sleep(float(answer.headers.get("retry-after") or 1))
        raise AssertionError("unreachable")

    def _check_route(self, target: str | None) -> None:
        """Half the answers of one model and half of another compare with nothing."""
        if self._served_by is None:
            self._served_by = target
        elif target != self._served_by:
            raise EvaluationError(
                f"workflow {self._workflow} answered by {self._served_by} and by {target}: its "
                "route changed, fell back or has a canary; evaluate again when it is steady"
            )
