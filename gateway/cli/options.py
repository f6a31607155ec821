"""Options that several commands share, declared once so that they read alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ADMIN_URL = "http://127.0.0.1:8001"
STATE = "var"
WAIT_S = 2.0

AdminUrl = Annotated[
    str, typer.Option("--admin-url", envvar="GATEWAY_ADMIN_URL", help="The admin API.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings file (default gateway.toml, if there).")
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept in the log.")]
State = Annotated[
    str,
    typer.Option(envvar="GATEWAY_STATE", help="The log's folder or Redis, if the gateway is down."),
]
Expected = Annotated[
    int | None, typer.Option("--expected-revision", help="Refuse if the log has moved past this.")
]
InFlight = Annotated[
    Literal["finish", "restart"], typer.Option(help="What becomes of running requests.")
]
Local = Annotated[
    bool,
    typer.Option("--local", help="Where the log is away: obey on this replica, append it later."),
]
Wait = Annotated[
    float,
    typer.Option(
        min=0, max=30, help="Seconds to wait for every live replica; exit 3 if one is silent."
    ),
]
Workflow = Annotated[str, typer.Argument(help="The workflow's name.", show_default=False)]
AdapterName = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The adapter.")]
