"""One typed object with everything an operator may set: file, then environment, then flags."""

from __future__ import annotations

import difflib
import os
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from gateway.api.limits import AnswerLimits, BodyLimits, ConnectionLimits, FeedbackLimits, Tls
from gateway.engine.embedded.options import Device, Dtype, EngineOptions
from gateway.engine.upstream.options import (
    DialectName,
    ServerAddress,
    Timeouts,
    UpstreamOptions,
)
from gateway.errors import BadInput
from gateway.log.location import FolderLocation, RedisLocation, parse_location
from gateway.registry.location import shown

PREFIX = "GATEWAY_"
# Settings that other programs have too, by the name that all of them go by.
_STANDARD = {"otel_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT"}


def _location(given: Any) -> Any:
    return parse_location(str(given)) if isinstance(given, str | Path) else given


# Printed without its password.
State = Annotated[
    FolderLocation | RedisLocation,
    BeforeValidator(_location),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]


# Printed without its password.
RegistryAt = Annotated[
    str,
    BeforeValidator(lambda given: str(given) if isinstance(given, Path) else given),
    PlainSerializer(shown, return_type=str),
    Field(min_length=1),
]


def _texts(given: Any) -> Any:
    if isinstance(given, str):
        return tuple(part.strip() for part in given.split(",") if part.strip())
    return given


# Several, by commas or as a list.
Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(_texts),
    PlainSerializer(",".join),
    WithJsonSchema({"type": "string"}),
]


class Settings(BaseModel):
    """The gateway's settings. Each may stand in gateway.toml, or as GATEWAY_NAME in the
    environment, or as a flag of `gateway serve`; the later wins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="address of the inference API")
    port: int = Field(default=8000, ge=0, le=65535, description="its port; 0 takes a free one")
    admin_host: str = Field(default="127.0.0.1", description="address of the admin API")
    admin_port: int = Field(default=8001, ge=0, le=65535, description="its port; 0: a free one")
    routes: Path = Field(default=Path("routes.yaml"), description="the routing table's file")
    state: State = Field(
        default=FolderLocation(Path("var")),
        description="where the revision log lives: a folder, or the address of a Redis",
    )
    local_state: Path = Field(
        default=Path("var"),
        description="folder of this replica's copy of a log that lives in a Redis",
    )
    replica: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._:-]{0,128}$",
        description="this gateway's name among its replicas; empty: host name and port",
    )
    registry: RegistryAt = Field(
        default="registry",
        description="where the adapters are: a folder, or an fsspec URL as s3://bucket/folder",
    )
    registry_cache: Path | None = Field(
        default=None,
        description="folder of copies of adapters that a URL holds; empty: in the user's cache",
    )
    registry_cache_bytes: int = Field(
        default=20_000_000_000, ge=0, description="most that these copies take; 0: no bound"
    )
    probes: Path = Field(
        default=Path("probes"), description="folder of the probe sets that guards name"
    )
    engine: Literal["embedded", "upstream"] = Field(
        default="embedded",
        description="what runs the model: this process, or vLLM-compatible servers",
    )
    servers: Texts = Field(
        default=(), description="with engine upstream: their addresses, http://host:port, by commas"
    )
    server_dialect: DialectName = Field(
        default="vllm", description="how the servers are spoken to: vllm, sglang or lorax"
    )
    server_model: str = Field(
        default="", description="the base model's name there; empty: the one that they list"
    )
    server_key: SecretStr = Field(
        default=SecretStr(""),
        description="bearer token for the servers and their fetchers; never a flag",
    )
    server_ca: Path | None = Field(
        default=None, description="certificate authority (PEM) of servers with https"
    )
    server_adapters: int = Field(
        default=64, ge=1, description="adapters that one server is given to hold"
    )
    server_copies: int = Field(
        default=2, ge=0, description="servers that an adapter is loaded to ahead; 0: all"
    )
    server_requests: int = Field(
        default=256, ge=1, description="requests that one server is given at a time"
    )
    server_connect_s: float = Field(default=2, gt=0, description="seconds to reach a server")
    server_first_token_s: float = Field(
        default=60, gt=0, description="seconds from a request sent there to its first token"
    )
    server_idle_s: float = Field(default=30, gt=0, description="seconds from token to token")
    server_load_s: float = Field(default=60, gt=0, description="seconds to load an adapter")
    server_check_s: float = Field(default=2, gt=0, description="seconds between health checks")
    server_retry_share: float = Field(
        default=0.2, ge=0, le=1, description="retries on another server, as a share of requests"
    )
    adapter_root: str = Field(
        default="", description="the registry's folder as the servers see it; empty: as it is here"
    )
    adapter_fetchers: Texts = Field(
        default=(),
        description="addresses of `gateway fetcher`, one for each server, where there is no shared "
        "folder; by commas",
    )
    model: str | None = Field(default=None, description="base model: folder or hub id")
    fingerprint: str = Field(
        default="",
        pattern=r"^([0-9a-f]{64})?$",
        description="with engine upstream: the base's fingerprint, where its weights are not here",
    )
    device: Device = Field(default="auto", description="auto, cpu or cuda")
    dtype: Dtype = Field(default="auto", description="auto, float32 or bfloat16")
    slots: int = Field(default=16, ge=1, le=1024, description="adapters on the device at once")
    max_rank: int = Field(default=16, ge=1, le=256, description="largest adapter rank")
    adapter_memory_mb: int = Field(
        default=2048, ge=0, description="megabytes of adapters in host memory behind the slots"
    )
    max_rows: int = Field(default=16, ge=1, le=1024, description="rows of one batch")
    max_len: int = Field(default=4096, ge=16, description="tokens of prompt and answer together")
    max_queue: int = Field(default=256, ge=1, description="requests that may wait")
    prefill_tokens: int = Field(default=128, ge=1, description="prompt tokens a step may add")
    threads: int = Field(default=0, ge=0, description="torch threads on CPU; 0 is torch's choice")
    grace_s: float = Field(default=20, ge=0, description="seconds running requests get at a stop")
    body_limit_bytes: int = Field(default=4_000_000, ge=1024, description="largest request body")
    body_timeout_s: float = Field(default=60, gt=0, description="seconds a body may take to arrive")
    head_limit_bytes: int = Field(
        default=32_768, ge=1024, description="largest request line with its headers"
    )
    head_timeout_s: float = Field(
        default=10, gt=0, description="seconds a client may take to send them"
    )
    max_prompt_tokens: int | None = Field(
        default=None, ge=1, description="longest prompt; empty: what the context holds"
    )
    request_timeout_s: float = Field(
        default=600, gt=0, description="seconds a request may take, from its prompt to its end"
    )
    tls_cert: Path | None = Field(
        default=None, description="certificate chain (PEM) of both ports; with tls_key"
    )
    tls_key: Path | None = Field(default=None, description="its private key (PEM)")
    require_keys: bool = Field(
        default=False, description="inference needs a key also before the first one is made"
    )
    two_person: bool = Field(
        default=False, description="no key approves an adapter that it registered"
    )
    guard_trips_per_hour: int = Field(
        default=3,
        ge=0,
        description="how often guards may act in an hour, over all gateways that share the log; "
        "past it their trips are held",
    )
    feedback_requests: int = Field(
        default=50_000,
        ge=0,
        le=10_000_000,
        description="answers that are remembered for feedback (about 0.4 KB each); 0: none",
    )
    feedback_age_s: float = Field(
        default=86_400, gt=0, description="seconds after an answer that feedback on it is taken"
    )
    feedback_comments: bool = Field(
        default=False,
        description="write the comments of feedback to the log; otherwise they are dropped",
    )
    otel_endpoint: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="OpenTelemetry collector (OTLP over HTTP) that gets a trace of each request, "
        "http://host:4318; also from OTEL_EXPORTER_OTLP_ENDPOINT; empty: no traces",
    )
    otel_service: str = Field(
        default="model-routing-gateway",
        min_length=1,
        description="service name in traces; OTEL_SERVICE_NAME goes before it",
    )
    otel_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of requests that are traced where the caller has not decided it",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="log lines from this level on"
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; set both or neither")
        return self

    @model_validator(mode="after")
    def _servers_are_whole(self) -> Settings:
        if self.engine == "upstream" and not self.servers:
            raise ValueError("engine upstream needs servers; name at least one address")
        for url in (*self.servers, *self.adapter_fetchers):
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{url!r} is no address of a server; write http://host:port")
        if self.fingerprint and self.engine != "upstream":
            raise ValueError("fingerprint goes with engine upstream; here the weights tell it")
        if self.adapter_fetchers and len(self.adapter_fetchers) != len(self.servers):
            raise ValueError(
                f"adapter_fetchers names {len(self.adapter_fetchers)}, servers "
                f"{len(self.servers)}; name one for each server, or none"
            )
        if self.server_dialect == "lorax" and self.servers and not self.adapter_fetchers:
            raise ValueError(
                "server_dialect lorax needs adapter_fetchers: it knows an adapter by its folder "
                "alone, and only a fetcher's folders carry the digest"
            )
        return self

    @property
    def tls(self) -> Tls | None:
        """The files of TLS, if it is wanted."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return Tls(self.tls_cert, self.tls_key)

    @property
    def connection(self) -> ConnectionLimits:
        """What a connection may cost before the app sees it."""
        return ConnectionLimits(self.head_limit_bytes, self.head_timeout_s)

    @property
    def body(self) -> BodyLimits:
        """What a request's body may cost."""
        return BodyLimits(self.body_limit_bytes, self.body_timeout_s)

    @property
    def answer(self) -> AnswerLimits:
        """What one request may cost the engine."""
        return AnswerLimits(self.max_prompt_tokens, self.request_timeout_s)

    @property
    def feedback(self) -> FeedbackLimits:
        """What is kept for feedback, and what of it."""
        return FeedbackLimits(self.feedback_requests, self.feedback_age_s, self.feedback_comments)

    @property
    def replica_name(self) -> str:
        """What events and status call this gateway; of a free port only while it runs."""
        return self.replica or f"{socket.gethostname()}:{self.port or os.getpid()}"

    @property
    def cache_bound(self) -> int | None:
        """Bytes of adapters' copies; None: no bound. Servers that read them from here may do so
        at any time, so that none of theirs is ever taken away."""
        shared = self.engine == "upstream" and not self.adapter_fetchers
        return None if shared or not self.registry_cache_bytes else self.registry_cache_bytes

    @property
    def copy_folder(self) -> Path | None:
        """Where this replica keeps its copy of the log; None for a log on this disk."""
        if isinstance(self.state, FolderLocation):
            return None
        return self.local_state / "replicas" / self.replica_name

    @property
    def guard_folder(self) -> Path:
        """Where this replica keeps its guards' evidence."""
        copy = self.copy_folder
        if copy is not None:
            return copy
        assert isinstance(self.state, FolderLocation)
        return self.state.path

    @property
    def upstream(self) -> UpstreamOptions:
        """The part that the upstream engine reads."""
        fetchers = self.adapter_fetchers or ("",) * len(self.servers)
        return UpstreamOptions(
            servers=tuple(
                ServerAddress(url, fetcher)
                for url, fetcher in zip(self.servers, fetchers, strict=True)
            ),
            dialect=self.server_dialect,
            model=self.server_model,
            key=self.server_key.get_secret_value(),
            authority=self.server_ca,
            adapter_root=self.adapter_root,
            adapters=self.server_adapters,
            copies=self.server_copies,
            requests=self.server_requests,
            max_len=self.max_len,
            max_rank=self.max_rank,
            retry_share=self.server_retry_share,
            timeouts=Timeouts(
                connect_s=self.server_connect_s,
                first_token_s=self.server_first_token_s,
                idle_s=self.server_idle_s,
                load_s=self.server_load_s,
                check_every_s=self.server_check_s,
            ),
        )

    @property
    def embedded(self) -> EngineOptions:
        """The part that the embedded engine reads."""
        return EngineOptions(
            device=self.device,
            dtype=self.dtype,
            slots=self.slots,
            host_bytes=self.adapter_memory_mb << 20,
            max_rank=self.max_rank,
            max_rows=self.max_rows,
            max_len=self.max_len,
            max_queue=self.max_queue,
            prefill_tokens=self.prefill_tokens,
            threads=self.threads,
        )


def read_settings(
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings in force. `flags` that are None are not given. Raises BadInput naming the
    setting and where it came from."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    path = file or Path("gateway.toml")
    if file is not None or path.is_file():
        try:
            values |= tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:  # no TOML, or no UTF-8
            raise BadInput(f"{path} cannot be read: {error}", param="config") from None
        origins |= dict.fromkeys(values, str(path))
    for name in Settings.model_fields:
        if (text := environment.get(PREFIX + name.upper())) is not None:
            values[name], origins[name] = text, PREFIX + name.upper()
    for name, standard in _STANDARD.items():
        if name not in values and (text := environment.get(standard)):
            values[name], origins[name] = text, standard
    for name, value in flags.items():
        if value is not None:
            values[name], origins[name] = value, f"--{name.replace('_', '-')}"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if not field:  # of several settings together
            raise BadInput(message) from None
        origin = origins.get(str(first["loc"][0]), "")
        known = difflib.get_close_matches(field, Settings.model_fields, n=1)
        hint = f"; did you mean {known[0]}?" if first["type"] == "extra_forbidden" and known else ""
        raise BadInput(
            f"setting {field} = {first['input']!r} (from {origin}): {message}{hint}",
            param=field,
        ) from None
