"""What an operator may choose about the upstream engine, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.engine.upstream.breaker import BreakerRule
from gateway.engine.upstream.choice import Affinity

DialectName = Literal["vllm", "sglang", "lorax"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that each step may take."""

    connect_s: float = 2.0  # also to wait for a free connection of the pool
    first_token_s: float = 60.0  # from a connection to the first token
    idle_s: float = 30.0  # from one token to the next
    load_s: float = 60.0  # to fetch and load an adapter
    check_s: float = 2.0  # to answer a health check, or to list the models
    check_every_s: float = 2.0


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One server: where it answers, and where the fetcher beside it does, if it has one."""

    url: str
    fetcher: str = ""  # empty: it reads adapters from a folder that it shares with the registry


@dataclass(frozen=True, slots=True)
class UpstreamOptions:
    """Which servers, how they are spoken to, and what each may be asked."""

    servers: tuple[ServerAddress, ...]
    dialect: DialectName = "vllm"
    model: str = ""  # the base's name there; empty: the one that they list
    key: str = ""  # bearer token for the servers and fetchers
    authority: Path | None = None  # certificate authority (PEM) of https servers
    adapter_root: str = ""  # the registry's folder as servers see it; empty: as it is here
    adapters: int = 64  # that one server holds
    copies: int = 2  # servers that an adapter is loaded to before its first request
    requests: int = 256  # choices that one server is given at a time
    background_queue: int = 64  # background requests that wait for an idle server, or run
    max_len: int = 4096
    max_rank: int = 16
    retry_share: float = 0.2  # retries, as a share of requests
    failed_checks: int = 2  # in a row, after which a server gets no requests
    timeouts: Timeouts = field(default_factory=Timeouts)
    breaker: BreakerRule = field(default_factory=BreakerRule)
    affinity: Affinity = field(default_factory=Affinity)
