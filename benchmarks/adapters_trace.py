"""A stream of requests over adapters by a Zipf law, and how often a cache of some slots could have
had the adapter asked for. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence

import numpy as np


def zipf_trace(adapters: int, exponent: float, length: int, seed: int) -> list[int]:
    """`length` adapters, independently drawn: the k-th most popular with a chance in proportion to
    k^-exponent. Which adapter is how popular is drawn too, so that names say nothing of it."""
    generator = np.random.default_rng(seed)
    weights = np.arange(1, adapters + 1, dtype=float) ** -exponent
    ranks = generator.choice(adapters, size=length, p=weights / weights.sum())
    names = generator.permutation(adapters)
    return [int(names[rank]) for rank in ranks]


def lru_hits(trace: Sequence[int], slots: int) -> list[bool]:
    """Of each request in order: whether a cache that evicts the least recently used one has it."""
    held: OrderedDict[int, None] = OrderedDict()
    found = []
    for wanted in trace:
        found.append(wanted in held)
        held[wanted] = None
        held.move_to_end(wanted)
        if len(held) > slots:
            held.popitem(last=False)
    return found


def best_hits(trace: Sequence[int], slots: int) -> list[bool]:
    """The same for the optimum, which knows the future: it evicts the one that is next asked for
    latest (Belady, 1966). No order of serving one request after the other does better."""
    at: defaultdict[int, list[int]] = defaultdict(list)
    for index, wanted in enumerate(trace):
        at[wanted].append(index)

    def next_use(name: int, now: int) -> float:
        later = bisect_right(at[name], now)
        return at[name][later] if later < len(at[name]) else float("inf")

    held: set[int] = set()
    found = []
    for now, wanted in enumerate(trace):
        found.append(wanted in held)
        if wanted not in held and len(held) >= slots:
            held.remove(max(held, key=lambda name: next_use(name, now)))
        held.add(wanted)
    return found


def policy_hits(
    trace: Sequence[int],
    slots: int,
    touch: Callable[[int], None],
    victim: Callable[[Sequence[int]], int],
) -> list[bool]:
    """The same for a policy: `touch` tells it of requests, `victim` chooses one of those held."""
    held: dict[int, None] = {}
    found = []
    for wanted in trace:
        found.append(wanted in held)
        touch(wanted)
        if wanted not in held and len(held) >= slots:
            del held[victim(list(held))]
        held[wanted] = None
    return found


def share(found: Sequence[bool], counted_from: int) -> float:
    """The share of hits from the request of that index on: what came before warmed the cache up."""
    counted = found[counted_from:]
    return sum(counted) / len(counted) if counted else 0.0
