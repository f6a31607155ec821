"""How an engine is served, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.api.limits import BodyLimits, ConnectionLimits, Tls
from gateway.api.operators import is_loopback
from gateway.engine.embedded.options import EngineOptions
from gateway.errors import BadInput


@dataclass(frozen=True, slots=True)
class EngineServing:
    """Raises BadInput where it would be open to a network."""

    host: str
    port: int  # 0 takes a free one
    key: str  # what gateways must show; empty: none
    model: str | None  # see `resolve_model`
    options: EngineOptions
    body: BodyLimits
    connection: ConnectionLimits
    tls: Tls | None
    grace_s: float  # that running requests get at a stop
    log_level: str
    adapters: int = 256  # that it answers by at a time, wherever they are held

    def __post_init__(self) -> None:
        if not self.key and not is_loopback(self.host):
            raise BadInput(
                f"{self.host} can be reached from other machines: set GATEWAY_SERVER_KEY "
                "(server_key), here and for the gateways",
                param="host",
            )
