"""The CLI's side of the admin API."""

from __future__ import annotations

from typing import Any

import httpx

_TIMEOUT_S = 30.0


class Unreachable(Exception):
    """No gateway answers at the admin address."""


class Refused(Exception):
    """The gateway refused; `code` is its machine-readable reason."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class OutcomeUnknown(Exception):
    """The connection broke after the command was sent."""


class AdminClient:
    """Calls the admin API at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """The answer's JSON. Raises Unreachable, Refused, OutcomeUnknown."""
        params = {name: value for name, value in query.items() if value is not None}
        try:
            answer = httpx.request(
                method, f"{self._url}/admin/v1{path}", json=body, params=params, timeout=_TIMEOUT_S
            )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise Unreachable(f"no gateway answers at {self._url}") from None
        except httpx.TransportError as error:
            raise OutcomeUnknown(
                f"the connection to {self._url} broke ({error or type(error).__name__}); it is "
                "not known whether the command took effect: look with `gateway history`"
            ) from None
        try:
            data: dict[str, Any] = answer.json()
        except ValueError:
            raise Refused(f"{self._url} answered {answer.status_code}, not JSON", "") from None
        if answer.is_error:
            error_body = data.get("error", {})
            raise Refused(error_body.get("message", answer.text), error_body.get("code") or "")
        return data
