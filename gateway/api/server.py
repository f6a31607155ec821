"""One listening port: uvicorn with the connection's limits and TLS, on the gateway's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn

from gateway.api.connection import guarded
from gateway.api.limits import ConnectionLimits, Tls
from gateway.errors import BadInput


def check_tls(tls: Tls) -> None:
    """Raises BadInput where the files are no certificate and its key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.cert, tls.key, password="")
    except OSError as error:  # also what OpenSSL refuses
        raise BadInput(
            f"tls_cert {tls.cert} and tls_key {tls.key} cannot be used: {error}; they must be PEM "
            "files, the key without a password and of that certificate",
            param="tls_cert",
        ) from None


class Listener:
    """A server on one port. `port` is known once `start` returned."""

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        *,
        limits: ConnectionLimits,
        tls: Tls | None,
        grace_s: float,
    ) -> None:
        self._where = f"{host}:{port}"
        self._server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=guarded(limits),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                ssl_certfile=None if tls is None else str(tls.cert),
                ssl_keyfile=None if tls is None else str(tls.key),
                timeout_graceful_shutdown=int(grace_s) + 5,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise OSError(f"{self._where} cannot be served")
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def take_no_more(self) -> None:
        """Accept no new connection; what runs goes on."""
        self._server.should_exit = True

    async def ended(self) -> None:
        """Wait until the last answer was sent or the grace time is over."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


class _Server(uvicorn.Server):
    """Signals are the gateway's, not each server's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield
