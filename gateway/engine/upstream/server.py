"""HTTP to one server: a pool of connections, and every exchange with its time limit.

Holds no state but the pool. Raises ServerFault, which says what is to be done about it.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.engine.upstream.dialect import Dialect
from gateway.engine.upstream.faults import Fault, ServerFault, of_transport
from gateway.engine.upstream.options import Timeouts
from gateway.engine.upstream.tries import Tries

_ALREADY = re.compile(r"already (been )?loaded", re.IGNORECASE)
_SAID_AT_MOST = 500  # characters of a server's error that are kept
_SPARE = 8  # connections that checks and loads have beside those of requests
# An unused connection is closed sooner than vLLM closes it (5 s): a request is never sent on one
# that is just being closed there.
_UNUSED_S = 4.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that a server lists. Adapters have a parent."""

    name: str
    parent: str | None
    max_len: int | None
    fingerprint: str | None = None  # of a base, where its server tells (`gateway engine`)


@dataclass(frozen=True, slots=True)
class _Said:
    """A whole answer."""

    path: str
    status: int
    body: bytes


class Server:
    """One server."""

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        *,
        key: str,
        timeouts: Timeouts,
        connections: int,
        trust: ssl.SSLContext | bool = True,
        tries: Tries | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._tries = tries
        self.dialect = dialect
        self._timeouts = timeouts
        self._generate = self.url + dialect.generate
        # Events are to come as they are sent.
        self._headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._connections = connections
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    async def check(self) -> None:
        """Raises ServerFault where the server does not say that it is well."""
        answer = await self._ask("GET", self.dialect.health, self._timeouts.check_s)
        if answer.status != 200:
            raise ServerFault(Fault.BROKEN, f"{self.url} is not well: {answer.status}")

    async def listed(self) -> list[Listed]:
        """What it serves. Raises ServerFault."""
        if self.dialect.models is None:
            return []
        answer = await self._ask("GET", self.dialect.models, self._timeouts.check_s)
        return parse_models(self._object(answer))

    async def tokens_of(self, model: str, text: str) -> list[int] | None:
        """How its tokenizer cuts `text`; None where it cannot be asked."""
        if self.dialect.tokenize is None:
            return None
        body = {"model": model, "prompt": text}
        answer = await self._ask("POST", self.dialect.tokenize, self._timeouts.check_s, body)
        if answer.status in (404, 405, 501):
            return None
        return [int(one) for one in self._object(answer).get("tokens", [])]

    async def load(self, name: str, path: str) -> None:
        """Have it hold the adapter in the folder `path` (as it sees it) under `name`.

        Raises ServerFault: ADAPTER_REFUSED where it answered that it will not.
        """
        if self.dialect.load is None:
            return
        body = {"lora_name": name, "lora_path": path}
        answer = await self._ask("POST", self.dialect.load, self._timeouts.load_s, body)
        said = _message(answer.body)
        if answer.status == 200 or _ALREADY.search(said):
            return  # what is there under this name has this content
        if answer.status in (429, 503):  # it says nothing of the adapter
            raise ServerFault(Fault.FULL, f"{self.url} loads nothing now: {said}")
        raise ServerFault(Fault.ADAPTER_REFUSED, f"{self.url} does not load it: {said}")

    async def unload(self, name: str) -> None:
        """Have it let go of the adapter. One that is not there is none. Raises ServerFault."""
        if self.dialect.unload is None:
            return
        answer = await self._ask(
            "POST", self.dialect.unload, self._timeouts.load_s, {"lora_name": name}
        )
        if answer.status not in (200, 400, 404):
            raise ServerFault(Fault.BROKEN, f"{self.url} does not unload: {_message(answer.body)}")

    async def fetch_at(self, fetcher: str, digest: str) -> str:
        """Have the fetcher beside the server get an adapter; the folder it is in then. Raises
        ServerFault: ADAPTER_REFUSED where it answered that it cannot."""
        url = f"{fetcher.rstrip('/')}/v1/adapters/{digest}"
        answer = await self._ask("POST", url, self._timeouts.load_s)
        if answer.status != 200:
            raise ServerFault(
                Fault.ADAPTER_REFUSED, f"{fetcher} does not fetch it: {_message(answer.body)}"
            )
        return str(self._object(answer)["path"])

    @asynccontextmanager
    async def answering(
        self, body: dict[str, Any], request_id: str
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """Send a request; the data of its events, those that came together in one list. Raises
        ServerFault. Leaving the context ends the exchange, and with it the server's work on it.
        Not timed."""
        headers = {"x-request-id": request_id}
        if self._tries is not None:
            headers |= self._tries.headers()
        with self._faults():
            async with self._http().post(
                self._generate,
                data=json.dumps(body).encode(),
                headers=headers,
                allow_redirects=False,
            ) as answer:
                if answer.status != 200:
                    raise self.dialect.refusal(
                        answer.status,
                        _message(await answer.read()),
                        self.url,
                        answer.headers.get("retry-after"),
                    )
                try:
                    yield _events(answer.content)
                finally:
                    if not answer.content.at_eof():
                        answer.close()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    def _http(self) -> aiohttp.ClientSession:
        """The pool, made on the loop that first asks."""
        if self._session is None:
            timeouts = self._timeouts
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(
                    limit=self._connections + _SPARE,
                    keepalive_timeout=_UNUSED_S,
                    ssl=self._trust,
                ),
                # Reads are timed by step, not by socket.
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=timeouts.connect_s, sock_connect=timeouts.connect_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _ask(
        self, method: str, path: str, limit_s: float, body: dict[str, Any] | None = None
    ) -> _Said:
        url = path if "://" in path else self.url + path
        data = None if body is None else json.dumps(body).encode()
        with self._faults():
            try:
                async with (
                    asyncio.timeout(limit_s),
                    self._http().request(method, url, data=data, allow_redirects=False) as answer,
                ):
                    return _Said(path, answer.status, await answer.read())
            except TimeoutError:
                raise ServerFault(
                    Fault.SLOW, f"{self.url} did not answer {method} {path} in {limit_s:g} s"
                ) from None

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ClientError as error:
            raise of_transport(error, self.url) from error

    def _object(self, answer: _Said) -> dict[str, Any]:
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            raise ServerFault(
                Fault.BROKEN,
                f"{self.url} answered {answer.path} with {answer.status}: {_message(answer.body)}",
            )
        return found


def parse_models(said: Any) -> list[Listed]:
    """A list of models as OpenAI's API gives it. Raises ServerFault where it is none."""
    try:
        return [
            Listed(
                *(str(one["id"]), one.get("parent"), one.get("max_model_len")),
                one.get("fingerprint"),
            )
            for one in said["data"]
        ]
    except (TypeError, KeyError, AttributeError):
        raise ServerFault(Fault.BROKEN, f"no list of models: {str(said)[:200]}") from None


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[list[bytes]]:
    """The data of server-sent events (one line each, as these servers send them)."""
    rest = b""
    async for piece in content.iter_any():
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        events = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        if events:
            yield events
    if rest.startswith(b"data:"):
        yield [rest[5:].strip()]


def _message(body: bytes) -> str:
    """What a server said about its refusal."""
    try:
        said = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:_SAID_AT_MOST]
    if isinstance(said, dict):
        for key in ("error", "error_message", "message", "detail"):
            inner = said.get(key)
            if isinstance(inner, dict) and "message" in inner:
                return str(inner["message"])[:_SAID_AT_MOST]
            if inner:
                return str(inner)[:_SAID_AT_MOST]
    return json.dumps(said)[:_SAID_AT_MOST]
