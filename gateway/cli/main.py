"""The `gateway` command. Exit codes: 0 done, 1 refused, 2 bad usage or file, 3 gateway
unreachable or outcome unknown, 4 revision conflict."""

from __future__ import annotations

import typer

from gateway.cli import (
    adapters,
    audit,
    canary,
    engine,
    fetcher,
    guard,
    keys,
    reads,
    routing,
    serve,
    status,
    watch,
)

app = typer.Typer(no_args_is_help=True, help=__doc__)
for group in (serve, reads, status, watch, routing, canary, engine, fetcher):
    app.add_typer(group.app)
app.add_typer(adapters.app, name="adapters")
app.add_typer(guard.app, name="guard")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")

if __name__ == "__main__":
    app()
