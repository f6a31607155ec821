"""Where a revision log lives: a folder (SQLite) or a Redis, from one text of the settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from gateway.errors import BadInput

RedisKind = Literal["single", "sentinel", "cluster"]
_SCHEME = re.compile(r"(?P<tls>rediss|redis)(?:\+(?P<kind>sentinel|cluster))?")
_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_OPTIONS = ("namespace", "ca_file", "sentinel_user", "sentinel_password")
FORMS = (
    "a folder, redis://[user:password@]host[:port][/database], "
    "redis+sentinel://host:port,host:port/service or redis+cluster://host:port,host:port "
    "(rediss for TLS)"
)


@dataclass(frozen=True, slots=True)
class FolderLocation:
    """A folder that holds the SQLite log."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class RedisLocation:
    """A Redis server, a Sentinel service or a Cluster. Prints itself without its password."""

    kind: RedisKind
    endpoints: tuple[tuple[str, int], ...]  # host and port; the sentinels' for a service
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    service: str = ""  # the name that the sentinels watch
    namespace: str = "gateway"  # what all keys begin with
    ca_file: Path | None = None  # certificates to trust; None: the system's
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        scheme = "rediss" if self.tls else "redis"
        kind = "" if self.kind == "single" else f"+{self.kind}"
        who = f"{self.user or ''}:***@" if self.password else f"{self.user}@" if self.user else ""
        hosts = ",".join(f"{_bracketed(host)}:{port}" for host, port in self.endpoints)
        path = f"/{self.service}" if self.service else ""
        path += f"/{self.database}" if self.database else ""
        return f"{scheme}{kind}://{who}{hosts}{path}"


Location = FolderLocation | RedisLocation


def parse_location(text: str) -> Location:
    """What `text` names. Raises BadInput with the part that is wrong."""
    scheme, separator, _ = text.partition("://")
    if not separator:
        if not text.strip():
            raise _bad("is empty")
        return FolderLocation(Path(text))
    match = _SCHEME.fullmatch(scheme)
    if match is None:
        raise _bad(f"scheme {scheme!r} is not known")
    kind: RedisKind = match["kind"] or "single"  # type: ignore[assignment]
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise _bad(f"the address cannot be read ({error})") from None
    options = _options(parts)
    service, database = _path(parts, kind)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    endpoints = tuple(_endpoint(host, _PORTS[kind]) for host in hosts.split(","))
    if kind == "single" and len(endpoints) > 1:
        raise _bad("several hosts need redis+sentinel:// or redis+cluster://")
    return RedisLocation(
        kind=kind,
        endpoints=endpoints,
        tls=match["tls"] == "rediss",
        user=unquote(user) or None,
        password=unquote(password) or None,
        database=database,
        service=service,
        namespace=options.get("namespace", "gateway"),
        ca_file=Path(options["ca_file"]) if "ca_file" in options else None,
        sentinel_user=options.get("sentinel_user"),
        sentinel_password=options.get("sentinel_password"),
    )


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise _bad(f"option {unknown[0]!r} is not known; known are {', '.join(_OPTIONS)}")
    if not _NAMESPACE.fullmatch(options.get("namespace", "gateway")):
        raise _bad("namespace may hold letters, digits, '.', '_' and '-', at most 64")
    if parts.fragment:
        raise _bad("a '#' in the password must be written %23")
    return options


def _path(parts: SplitResult, kind: RedisKind) -> tuple[str, int]:
    """Service name and database number of the address's path."""
    pieces = [unquote(piece) for piece in parts.path.split("/") if piece]
    service = ""
    if kind == "sentinel":
        if not pieces:
            raise _bad("a sentinel address ends with the service's name: …/mymaster")
        service = pieces.pop(0)
    if len(pieces) > 1:
        raise _bad(f"the path {parts.path!r} has too many parts")
    database = pieces[0] if pieces else "0"
    if not database.isdecimal():
        raise _bad(f"database {database!r} is no number")
    if kind == "cluster" and database != "0":
        raise _bad(f"database {database}: a cluster has database 0 alone")
    return service, int(database)


def _endpoint(text: str, port: int) -> tuple[str, int]:
    host, colon, stated = text.rpartition(":")
    if not colon or stated.endswith("]"):
        host, stated = text, str(port)
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise _bad("the host is missing")
    if not stated.isdecimal() or not 0 < int(stated) < 65536:
        raise _bad(f"port {stated!r} is not a number from 1 to 65535")
    return host, int(stated)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bad(what: str) -> BadInput:
    return BadInput(f"state: {what}; write {FORMS}", param="state")
