"""The CLI's side of the admin API."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from gateway.errors import BadInput

KEY = "GATEWAY_ADMIN_KEY"
KEY_FILE = "GATEWAY_ADMIN_KEY_FILE"
AUTHORITY = "GATEWAY_ADMIN_CA"
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
    """Calls the admin API at `url`, with the key and the certificate authority that the
    environment names. A key is never an argument: every user of a machine can read those."""

    def __init__(self, url: str, environment: Mapping[str, str] = os.environ) -> None:
        """Raises BadInput where the key's file or the authority's cannot be read."""
        self._url = url.rstrip("/")
        self._headers, self._verify = admin_access(environment)

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """The answer's JSON. Raises Unreachable, Refused, OutcomeUnknown."""
        wait_s = body.get("wait_s", 0.0) if isinstance(body, dict) else 0.0  # the gateway's own
        params = {name: value for name, value in query.items() if value is not None}
        try:
            answer = httpx.request(
                method,
                f"{self._url}/admin/v1{path}",
                json=body,
                params=params,
                headers=self._headers,
                timeout=_TIMEOUT_S + wait_s,
                verify=self._verify,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if "CERTIFICATE" in str(error):  # it answers, and must not be taken for down
                raise Refused(
                    f"{self._url}: {error}; {AUTHORITY} names the authority to trust", ""
                ) from None
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
            message = error_body.get("message", answer.text)
            if answer.status_code == 401:
                message += f" ({KEY} or {KEY_FILE} in the environment gives it to this command)"
            raise Refused(message, error_body.get("code") or "")
        return data

    def page(self, url: str) -> str:
        """The text at a whole `url`, asked for with the same key. Raises Unreachable, Refused."""
        try:
            answer = httpx.get(url, headers=self._headers, timeout=_TIMEOUT_S, verify=self._verify)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            said = error or type(error).__name__
            raise Unreachable(f"{url} cannot be read ({said})") from None
        if answer.is_error:
            raise Refused(f"{url} answered {answer.status_code}", "")
        return answer.text


def admin_access(
    environment: Mapping[str, str] = os.environ,
) -> tuple[dict[str, str], ssl.SSLContext | bool]:
    """The headers and the trust that the admin API is asked with. Raises BadInput."""
    key = environment.get(KEY) or _read_key(environment.get(KEY_FILE))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    authority = environment.get(AUTHORITY)
    if not authority:
        return headers, True
    try:
        return headers, ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise BadInput(f"{AUTHORITY}={authority} cannot be read: {error}") from None


def _read_key(path: str | None) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{KEY_FILE}={path} cannot be read: {error}") from None
