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


class Body(BaseModel):
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
    str | Annotated[list[str], Field(max_length=16)], _a("a text or a list of at most 16 texts")
]


class _Request(Body):
    model: str = Field(min_length=1, description="the workflow")
    stream: bool = Field(default=False, description="send the answer as server-sent events")
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(
        default=None,
        ge=0,
        description="new tokens at most; over the workflow's own limit it is refused",
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="0 is greedy; the workflow's where it is left out"
    )
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="sample from the likeliest tokens of this mass"
    )
    seed: int | None = Field(default=None, description="the same seed samples the same tokens")
    stop: Stop | None = Field(default=None, description="texts that end the answer before them")
    n: int | None = Field(default=None, ge=1, le=128, description="answers to the one prompt")
    frequency_penalty: float | None = Field(
        default=None, ge=-2, le=2, description="against tokens, by how often they came"
    )
    presence_penalty: float | None = Field(
        default=None, ge=-2, le=2, description="against tokens that came at all"
    )
    response_format: ResponseFormat | None = Field(
        default=None, description="the form of the answer; goes before the workflow's schema"
    )
    user: str | None = Field(
        default=None,
        description="who asks; where the workflow tries a canary, one user has one model",
    )
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


class StreamOptions(Body):
    """What a stream carries beside the text."""

    include_usage: bool = Field(default=False, description="count the tokens in a last chunk")


class JsonSchema(Body):
    """A schema that the answer is held to, token by token."""

    name: str = Field(default="answer", description="a label; changes no answer")
    description: str | None = Field(default=None, description="likewise")
    schema_: dict[str, Any] = Field(alias="schema", description="the JSON schema")
    strict: bool | None = Field(default=None, description="likewise: every schema is held to")


class ResponseFormat(Body):
    """The form of an answer."""

    type: Literal["text", "json_object", "json_schema"] = Field(
        description="any text, any JSON object, or JSON of a schema"
    )
    json_schema: JsonSchema | None = Field(default=None, description="for type json_schema")

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


class TextPart(Body):
    """A piece of a message."""

    type: Literal["text"] = Field(description="no images, no audio")
    text: str = Field(description="the text")


class Message(Body):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "developer"] = Field(
        description="who says it; developer is taken for system"
    )
    content: Annotated[
        str | list[TextPart], _a("a text or a list of parts of type text (no images, no audio)")
    ] = Field(description="what is said")
    name: str | None = Field(default=None, description="given to the model's chat template")

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

    messages: list[Message] = Field(min_length=1, description="the conversation so far")
    max_completion_tokens: int | None = Field(
        default=None, ge=1, description="max_tokens by its newer name; goes before it"
    )
    logprobs: bool = Field(default=False, description="log-probabilities of the answer's tokens")
    top_logprobs: int | None = Field(
        default=None, ge=0, le=_MAX_LOGPROBS, description="of this many likeliest tokens as well"
    )

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
    ] = Field(description="texts, or token ids of the base model's tokenizer")
    echo: bool = Field(
        default=False, description="begin with the prompt; with logprobs, with its scores too"
    )
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=_MAX_LOGPROBS,
        description="log-probabilities of the tokens, and of this many likeliest ones",
    )

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
