"""Requests of the OpenAI API, typed. A field that is not here is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from gateway.engine.base import SamplingParams
from gateway.errors import BadInput
from gateway.routing.table import Route

_DEFAULT_MAX_TOKENS = 256
_MAX_LOGPROBS = 20


def _a(what: str) -> WrapValidator:
    """One fault for a field that takes several types, in place of one for each."""

    def validate(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        try:
            return inner(value)
        except ValidationError:
            raise ValueError(f"must be {what}") from None

    return WrapValidator(validate)


class _Body(BaseModel):
    """What a client sends. Types are not guessed at, and no field is ignored; but a null says
    that a field is not there, also for one that is not supported (clients send what they got)."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}


Stop = Annotated[
    str | Annotated[list[str], Field(max_length=4)], _a("a text or a list of at most 4 texts")
]


class _Request(_Body):
    model: str = Field(min_length=1, description="the workflow")
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    stop: Stop | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    response_format: ResponseFormat | None = None
    user: str | None = Field(default=None, description="the client's label; changes no answer")
    metadata: dict[str, str] | None = Field(default=None, description="likewise")
    store: Literal[False] | None = Field(default=None, description="answers are never stored")

    @property
    def limit_field(self) -> str:
        """The field that `limit` is read from."""
        return "max_tokens"

    def limit(self) -> int | None:
        """The number of new tokens asked for, if any was."""
        return self.max_tokens

    @model_validator(mode="after")
    def _options_need_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        return self

    def sampling(
        self, route: Route, *, room: int, logprobs: int | None, prompt_logprobs: int | None = None
    ) -> SamplingParams:
        """Sampling under `route`'s limits and defaults; `room` tokens are left for the answer.

        Raises BadInput where the request asks for more than the route allows.
        """
        asked = self.limit()
        if asked is not None and route.max_tokens is not None and asked > route.max_tokens:
            raise BadInput(
                f"{self.limit_field} is {asked}; workflow {route.workflow} allows "
                f"{route.max_tokens}",
                param=self.limit_field,
            )
        if asked is not None and asked > room:
            raise BadInput(
                f"{self.limit_field} is {asked}; after this prompt the model's context has room "
                f"for {room} tokens",
                param=self.limit_field,
                code="context_length_exceeded",
            )
        if asked is None:
            usual = route.default_max_tokens or route.max_tokens or _DEFAULT_MAX_TOKENS
            asked = max(1, min(usual, room))
        schema: Mapping[str, Any] | None = route.response_schema
        json_object = False
        if self.response_format is not None:
            schema = self.response_format.schema_of()
            json_object = self.response_format.type == "json_object"
        temperature = self.temperature
        if temperature is None:
            temperature = 1.0 if route.temperature is None else route.temperature
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return SamplingParams(
            max_tokens=asked,
            temperature=temperature,
            top_p=self.top_p or 1.0,
            seed=self.seed,
            stop=tuple(text for text in stop if text),
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
            json_schema=schema,
            json_object=json_object,
        )


class StreamOptions(_Body):
    include_usage: bool = False


class JsonSchema(_Body):
    name: str = "answer"
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(_Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is missing")
        return self

    def schema_of(self) -> Mapping[str, Any] | None:
        """The schema to constrain by, if this format has one."""
        if self.type != "json_schema" or self.json_schema is None:
            return None
        return self.json_schema.schema_


class TextPart(_Body):
    type: Literal["text"]
    text: str


class Message(_Body):
    role: Literal["system", "user", "assistant", "developer"]
    content: Annotated[
        str | list[TextPart], _a("a text or a list of parts of type text (no images, no audio)")
    ]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """Role and text, as chat templates take them, and the name where one is given."""
        text = (
            self.content
            if isinstance(self.content, str)
            else "".join(part.text for part in self.content)
        )
        role = "system" if self.role == "developer" else self.role
        name = {} if self.name is None else {"name": self.name}
        return {"role": role, "content": text, **name}


class ChatRequest(_Request):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=_MAX_LOGPROBS)

    @property
    def limit_field(self) -> str:
        """See `_Request.limit_field`."""
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    def limit(self) -> int | None:
        """`max_completion_tokens`, else its older name."""
        chosen = self.max_completion_tokens
        return self.max_tokens if chosen is None else chosen

    @model_validator(mode="after")
    def _top_needs_logprobs(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self


class CompletionRequest(_Request):
    """`POST /v1/completions`."""

    prompt: Annotated[
        str | list[str] | list[int] | list[list[int]],
        _a("a text, a list of texts, a list of token ids, or a list of such lists"),
    ]
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0, le=_MAX_LOGPROBS)

    def prompts(self) -> list[str | list[int]]:
        """Each prompt: a text or token ids. Raises BadInput where there is none."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return [prompt]
        if not prompt:
            raise BadInput("prompt is empty; send at least one", param="prompt")
        if isinstance(prompt[0], int):
            return [prompt]
        return list(prompt)
