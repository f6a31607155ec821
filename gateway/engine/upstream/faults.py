"""What can go wrong with a server, by what is to be done about it."""

from __future__ import annotations

from enum import StrEnum

import aiohttp


class Fault(StrEnum):
    UNREACHABLE = "unreachable"  # no connection, or none in time
    BROKEN = "broken"  # it answered 5xx, or what no server of its kind says, or broke off
    SLOW = "slow"  # a step took longer than it may
    FULL = "full"  # it takes no more at present
    MISSING = "missing"  # it does not have the adapter (any more)
    WRONG_MODEL = "wrong_model"  # another model answered than was asked
    REFUSED = "refused"  # the request can never succeed as sent
    ADAPTER_REFUSED = "adapter_refused"  # it will not load the adapter
    EJECTED = "ejected"  # its checks failed while the request waited there
    PREEMPTED = "preempted"  # background work gave way to a live request; the server is well


# Those that say something bad about the server; of the others it is merely busy, or right.
BAD = frozenset({Fault.UNREACHABLE, Fault.BROKEN, Fault.SLOW, Fault.WRONG_MODEL})
# Those after which another server may do better.
ELSEWHERE = frozenset({*BAD, Fault.FULL, Fault.MISSING, Fault.ADAPTER_REFUSED, Fault.EJECTED})


class ServerFault(Exception):
    """One server did not do what was asked. Never leaves the engine: requests end with a
    GatewayError."""

    def __init__(self, fault: Fault, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.retry_after_s = retry_after_s


def of_transport(error: aiohttp.ClientError, server: str) -> ServerFault:
    """The fault that a failed exchange is."""
    said = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return ServerFault(Fault.UNREACHABLE, f"{server} cannot be reached: {said}")
    if isinstance(error, aiohttp.ServerTimeoutError):
        return ServerFault(Fault.SLOW, f"{server} did not answer in time ({said})")
    return ServerFault(Fault.BROKEN, f"{server} broke off: {said}")


def of_status(status: int, said: str, server: str, retry_after: str | None = None) -> ServerFault:
    """The fault that an answer other than 200 is. `said` is its message."""
    message = f"{server} answered {status}: {said}"
    if status in (429, 503):
        return ServerFault(Fault.FULL, message, retry_after_s=_seconds(retry_after))
    if status == 404:
        return ServerFault(Fault.MISSING, message)
    if status in (400, 413, 422):
        return ServerFault(Fault.REFUSED, message)
    return ServerFault(Fault.BROKEN, message)


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdigit() else 1.0
