"""How a canary takes its requests: shares, steps, and whom a share holds. Pure.

A key (who asks) falls into one of 10,000 buckets by a hash of workflow, adapter and key; a share
of 5% is the first 500 of them. So one key sees one model, a larger share holds everybody that a
smaller one held, and another adapter is tried on other people first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

BUCKETS = 10_000
USER = "user"  # the key that is a request's own field; every other one names a header


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """How a canary grows. `steps` are shares in percent, each larger than the one before."""

    steps: tuple[float, ...]
    hold_s: float | None = None  # how long a step lasts at least; None: a hand alone moves it
    key: str = USER  # what tells one person from another: USER, or a header in lower case
    min_answers: int = 100  # that each check must have seen in a step before it is moved


def buckets_of(percent: float) -> int:
    """How many of the BUCKETS a share holds."""
    return round(percent * BUCKETS / 100)


def seed(workflow: str, digest: str) -> bytes:
    """What sets one canary's buckets apart from another's."""
    return f"{workflow}\0{digest}\0".encode()


def bucket(canary: bytes, key: str) -> int:
    """The bucket of `key`, evenly spread and the same everywhere and for ever.

    Eight bytes of BLAKE2b; the remainder's bias is under one in 10^15.
    """
    digest = hashlib.blake2b(canary + key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS
