"""`gateway engine`: the model as a server of its own."""

from __future__ import annotations

import os
import socket
from typing import Annotated, Any

import typer

from gateway.cli.flags import with_flags
from gateway.cli.options import ConfigFile
from gateway.cli.outcomes import coded
from gateway.engine_server.options import EngineServing
from gateway.settings import read_settings
from gateway.tracing.opening import open_tracing

app = typer.Typer()

_OF_AN_ENGINE = (
    *("model", "device", "dtype", "threads", "slots", "max_rank", "max_rows", "max_len"),
    *("max_queue", "prefill_tokens", "adapter_memory_mb", "grace_s", "body_limit_bytes"),
    *("body_timeout_s", "head_limit_bytes", "head_timeout_s", "tls_cert", "tls_key", "log_level"),
    *("otel_endpoint", "otel_service", "otel_share"),
)


@app.command()
@with_flags(*_OF_AN_ENGINE)
@coded
def engine(
    config: ConfigFile = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port; 0: a free one.", min=0, max=65535)] = 8100,
    **given: Any,
) -> None:
    """Run the model for gateways elsewhere (engine = "upstream"), without vLLM or a GPU.

    It speaks the part of vLLM's protocol that gateways use. GATEWAY_SERVER_KEY is what gateways
    must show (their server_key); without it, it listens on this machine alone.
    """
    settings = read_settings(given, file=config)
    serving = EngineServing(
        host=host,
        port=port,
        key=settings.server_key.get_secret_value(),
        model=settings.model,
        options=settings.embedded,
        body=settings.body,
        connection=settings.connection,
        tls=settings.tls,
        grace_s=settings.grace_s,
        log_level=settings.log_level,
    )
    import uvloop

    from gateway.engine_server.serve import run  # torch comes with it

    tracing = open_tracing(settings, replica=f"{socket.gethostname()}:{port or os.getpid()}")
    uvloop.run(run(serving, tracing))
