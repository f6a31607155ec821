"""`gateway fetcher`: get adapters for the model server on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import httpx
import typer
import uvicorn

from gateway.api.operators import is_loopback
from gateway.cli.client import admin_access
from gateway.cli.outcomes import coded
from gateway.errors import BadInput

app = typer.Typer()

KEY = "GATEWAY_FETCHER_KEY"


@app.command()
@coded
def fetcher(
    folder: Annotated[Path, typer.Option(help="Where adapters are put; the server reads it.")],
    admin: Annotated[str, typer.Option(help="A gateway's admin API.")] = "http://127.0.0.1:8001",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.", min=0, max=65535)] = 8300,
) -> None:
    """Get adapters by their digest for a model server that shares no folder with the registry.

    GATEWAY_FETCHER_KEY is what gateways must show (their server_key); GATEWAY_ADMIN_KEY is what
    this shows to a gateway.
    """
    from gateway.fetcher.app import create_fetcher_app
    from gateway.fetcher.store import FetchedAdapters

    key = os.environ.get(KEY, "")
    if not key and not is_loopback(host):
        raise BadInput(
            f"{host} can be reached from other machines: set {KEY}, and server_key of the gateways",
            param="host",
        )
    headers, verify = admin_access()
    client = httpx.AsyncClient(
        base_url=admin.rstrip("/"), headers=headers, verify=verify, timeout=60
    )
    served = create_fetcher_app(FetchedAdapters(folder, client), key=key)
    uvicorn.run(served, host=host, port=port, log_level="warning", server_header=False)
