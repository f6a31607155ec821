"""Which server a request goes to. Pure: the servers' loads and a random number go in.

Requests with the same key (adapter and beginning of the prompt) go to the same server while it has
room, because the adapter and the prompt's cache are there: rendezvous hashing (Thaler and
Ravishankar, 1998) with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018). What spills over
goes to the less loaded of two servers taken at random (Mitzenmacher, 2001).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that may take the request."""

    name: str
    load: int  # outstanding tokens: of prompts not yet answered, and still to be generated
    holds: bool = True  # the adapter is resident there, or none is needed


@dataclass(frozen=True, slots=True)
class Affinity:
    """How far requests stick to a server."""

    spill_at: float = 1.25  # times the mean load
    slack: int = 4096  # tokens above that which never make a request leave its server
    prompt_tokens: int = 128  # of a prompt's beginning that are part of its key


def key_of(prompt: Sequence[int], adapter: str | None, affinity: Affinity) -> bytes:
    """What requests that share an adapter and a prompt's beginning have in common."""
    beginning = array("q", prompt[: affinity.prompt_tokens])
    return hashlib.blake2b(
        beginning.tobytes(), digest_size=16, key=(adapter or "").encode()[:64]
    ).digest()


def ranked(names: Collection[str], key: bytes) -> list[str]:
    """`names` in the order in which `key` prefers them. A server that leaves or joins moves only
    the keys that are its own."""
    return sorted(names, key=lambda name: _weight(name, key), reverse=True)


def choose(
    candidates: Sequence[Candidate],
    key: bytes,
    cost: int,
    chance: tuple[float, float],
    affinity: Affinity,
) -> str | None:
    """The server for a request of `cost` tokens; None where there is none. `chance` are two random
    numbers from [0, 1).

    First by preference among those that hold the adapter and are below their bound; then the less
    loaded of two of them, if none is far above the others that do not hold it; then of two of all.
    """
    if not candidates:
        return None
    by_name = {one.name: one for one in candidates}
    total = sum(one.load for one in candidates) + cost
    bound = affinity.spill_at * total / len(candidates) + affinity.slack
    order = [by_name[name] for name in ranked(by_name, key)]
    for one in order:
        if one.holds and one.load + cost <= bound:
            return one.name
    # Every holder is full (or there is none): the adapter is loaded to where there is room.
    roomy = [one for one in order if one.load + cost <= bound] or order
    return _less_loaded_of_two(roomy, chance).name


def _less_loaded_of_two(these: Sequence[Candidate], chance: tuple[float, float]) -> Candidate:
    first = int(chance[0] * len(these))
    if len(these) == 1:
        return these[first]
    second = int(chance[1] * (len(these) - 1))
    second += second >= first
    return min(these[first], these[second], key=lambda one: one.load)


def _weight(name: str, key: bytes) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8, key=key).digest()
