"""Keys as values. A key is an event in the log like every other change; its secret is nowhere.

Client keys ask workflows; operator keys give orders to the admin API. `grant` says which a key is
and what it may do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gateway.errors import BadInput

ANY_WORKFLOW = "*"
KEY_ACTOR = "key:"  # before a key's name, in the events that it causes
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_PATTERN = re.compile(r"[a-z0-9._*-]{1,64}")


class Role(StrEnum):
    """What an operator key may do; each role may also do what those before it may."""

    VIEWER = "viewer"  # read everything
    OPERATOR = "operator"  # disable, enable, roll back, resume; register adapters
    APPROVER = "approver"  # approve and revoke adapters, apply tables, manage keys

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Limit(StrEnum):
    """The limits of a client key, as errors and settings name them."""

    REQUESTS = "requests_per_minute"
    TOKENS = "tokens_per_minute"
    CONCURRENT = "concurrent_requests"


@dataclass(frozen=True, slots=True)
class ClientGrant:
    """May ask the workflows that match a pattern (`*` stands for any text), within the limits
    (None: no limit). Tokens are those of prompts and answers together."""

    workflows: tuple[str, ...] = (ANY_WORKFLOW,)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    kind: Literal["client"] = "client"


@dataclass(frozen=True, slots=True)
class OperatorGrant:
    """May give the orders of its role."""

    role: Role
    kind: Literal["operator"] = "operator"


Grant = ClientGrant | OperatorGrant


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `id` stands in its text, `name` in every event it causes; neither is used twice."""

    id: str
    name: str
    digest: str  # sha256 hex of the key's text (`secret.py`)
    grant: Grant

    @property
    def actor(self) -> str:
        """How events name it. No caller without the key can be called so."""
        return f"{KEY_ACTOR}{self.name}"


@dataclass(frozen=True, slots=True)
class Mark:
    """Who did a thing, why and when: made or revoked a key, registered an adapter."""

    revision: int
    actor: str
    reason: str
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key with its history. Revoked keys stay known, so that nothing is used twice."""

    key: Key
    created: Mark
    revoked: Mark | None = None


def check_key(key: Key) -> Key:
    """`key`, if its fields are within what a key may have. Raises BadInput naming the field."""
    if not _NAME.fullmatch(key.name):
        raise BadInput(
            f"key name {key.name!r}: 1 to 64 of a-z, 0-9, dot, dash, underscore, "
            "with a letter or digit at both ends",
            param="name",
        )
    if isinstance(key.grant, ClientGrant):
        _check_client(key.grant)
    return key


def _check_client(grant: ClientGrant) -> None:
    if not grant.workflows:
        raise BadInput("workflows is empty; name some, or '*' for all", param="workflows")
    for pattern in grant.workflows:
        if not _PATTERN.fullmatch(pattern):
            raise BadInput(
                f"workflow pattern {pattern!r}: 1 to 64 of a-z, 0-9, dot, dash, underscore, "
                "and * for any text",
                param="workflows",
            )
    for limit in Limit:
        value: int | None = getattr(grant, limit.value)
        if value is not None and value < 1:
            raise BadInput(
                f"{limit} is {value}; 1 is the least (revoke the key to stop it)", param=limit
            )
