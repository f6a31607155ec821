"""The shapes of answers, for the OpenAPI descriptions: `wire.py` makes the inference API's, and a
fuzzing test holds what is sent to what is described. Nothing is validated while serving."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway.engine.base import FinishReason
from gateway.errors import Problem


class Fault(BaseModel):
    """What went wrong, as OpenAI clients read it; some codes say more."""

    message: str
    type: str
    param: str | None = Field(description="the field at fault, if one is")
    code: str | None = Field(description="which fault it is; stable, for programs")
    request_id: str | None = Field(default=None, description="of a 5xx: what the log calls it")
    limit: str | None = Field(default=None, description="of a 429: the key's limit that was hit")
    allowed: int | None = Field(default=None, description="of a 429: that limit's value")
    expected: int | None = Field(default=None, description="of a conflict: the revision named")
    actual: int | None = Field(default=None, description="of a conflict: the log's revision")
    actor: str | None = Field(default=None, description="of a conflict: who moved the log")
    problems: list[Problem] | None = Field(default=None, description="of a rejected table")


class ErrorAnswer(BaseModel):
    """An error object."""

    error: Fault


FAULTS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "The request cannot be answered as it is."},
    "5XX": {"model": ErrorAnswer, "description": "The gateway cannot answer at present."},
}


class Usage(BaseModel):
    """Tokens in and out."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AlternativeScore(BaseModel):
    """A token with its log-probability."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenScore(AlternativeScore):
    """The token that was taken, and the likeliest ones."""

    top_logprobs: list[AlternativeScore]


class ChatScores(BaseModel):
    """The scores of an answer's tokens."""

    content: list[TokenScore]


class AnswerMessage(BaseModel):
    """What the model said."""

    role: Literal["assistant"]
    content: str


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatScores | None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    """The whole answer to a conversation. As a stream: `chat.completion.chunk` objects."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str = Field(description="the workflow")
    choices: list[ChatChoice]
    usage: Usage


class CompletionScores(BaseModel):
    """The scores of the tokens of a text; a text's first token has none."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One text."""

    index: int
    text: str
    logprobs: CompletionScores | None
    finish_reason: FinishReason


class TextCompletion(BaseModel):
    """The whole answer to prompts. As a stream: objects of the same form."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str = Field(description="the workflow")
    choices: list[CompletionChoice]
    usage: Usage


class Model(BaseModel):
    """A workflow."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """Every workflow that the caller may use."""

    object: Literal["list"]
    data: list[Model]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Readiness(BaseModel):
    """Whether requests can be served, and what is not as it should be."""

    ready: bool
    engine: str
    revision: int


def answered(model: type[BaseModel], *, stream: bool = False) -> dict[int | str, dict[str, Any]]:
    """The description of a 200 of this shape, with server-sent events where it may stream."""
    described: dict[str, Any] = {"model": model}
    if stream:
        described["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    return {200: described}
