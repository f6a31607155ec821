"""The errors of the gateway: one small hierarchy that HTTP and the CLI each map in one place.

Every message says what was wrong, where, what the limit is and what to do about it. Fields are
carried as attributes so that no caller has to read them back out of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class GatewayError(Exception):
    """Any failure the gateway explains to its user. `code` is stable and machine-readable."""

    code = "gateway_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadInput(GatewayError):
    """A request that can never succeed as sent. `param` names the offending field."""

    code = "invalid_value"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        if code is not None:
            self.code = code


class NotFound(GatewayError):
    """A workflow, adapter or revision that does not exist. `nearest` is the closest known name."""

    code = "not_found"

    def __init__(
        self, message: str, *, param: str | None = None, nearest: str | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.nearest = nearest


class RevisionConflict(GatewayError):
    """The log moved past the revision a command was decided on. `actor` moved it last."""

    code = "revision_conflict"

    def __init__(self, message: str, *, expected: int, actual: int, actor: str | None) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual
        self.actor = actor


class NotAllowed(GatewayError):
    """A command that the present state forbids (approve a failed gate, enable what is enabled)."""

    code = "not_allowed"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class AdapterRejected(GatewayError):
    """An adapter that the engine or registry will not hold; nothing of it stays loaded."""

    code = "adapter_rejected"

    def __init__(self, message: str, *, adapter: str) -> None:
        super().__init__(message)
        self.adapter = adapter


class QueueFull(GatewayError):
    """The engine's waiting queue is at its bound; retry after `retry_after_s` seconds."""

    code = "queue_full"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestTooLarge(GatewayError):
    """A request's body is over the limit; it was not read to its end."""

    code = "body_too_large"


class RequestTooSlow(GatewayError):
    """A request did not arrive within its time."""

    code = "request_too_slow"


class AnswerTooSlow(GatewayError):
    """An answer was not ready within a request's time; the engine has stopped working on it."""

    code = "request_timeout"


class NoValidKey(GatewayError):
    """A request without a key, or with one that is unknown or revoked."""

    code = "invalid_api_key"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class KeyNotAllowed(GatewayError):
    """A request whose key does not allow it. `code` says what is missing."""

    code = "key_not_allowed"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class RateLimited(GatewayError):
    """`key` (its name) is at one of its limits. `limit` names it, `allowed` is its value."""

    code = "rate_limit_exceeded"

    def __init__(
        self, message: str, *, key: str, limit: str, allowed: int, retry_after_s: float
    ) -> None:
        super().__init__(message)
        self.key = key
        self.limit = limit
        self.allowed = allowed
        self.retry_after_s = retry_after_s


class EngineFault(GatewayError):
    """The engine failed while serving; the cause is in the log, never in the client's answer."""

    code = "engine_error"


class EngineUnavailable(EngineFault):
    """No server of an upstream engine can be asked at present."""

    code = "engine_unavailable"


class ServerLost(EngineFault):
    """`server` broke off while it answered: another one may answer from the beginning, where
    nothing of it has reached the client."""

    def __init__(self, message: str, *, server: str) -> None:
        super().__init__(message)
        self.server = server


class LogUnavailable(GatewayError):
    """The revision log cannot be read or written at present."""

    code = "log_unavailable"


class RegistryUnavailable(GatewayError):
    """The adapters' registry cannot be read or written at present."""

    code = "registry_unavailable"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a file: where (1-based line and column), which field, and what to do."""

    message: str
    field: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        field = f"{self.field}: " if self.field else ""
        return f"{place if self.file else ''}{field}{self.message}"


class TableRejected(GatewayError):
    """A routing table that was not accepted; the live table is untouched. All `problems` listed."""

    code = "table_rejected"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)
