"""The evidence of all replicas together: what one adds, and what the sum is worth. No I/O.

A signal's pooled wealth is that of one gambler who bets on the merged stream of all replicas'
answers. Answer after answer it is multiplied by `1 + s * (score - bound)`; the order within a
product does not matter, so a replica only says by how much its answers since it last spoke
multiply it, and how many they were. There is one such wealth in the fleet, in a store that all of
them write by compare-and-set; each batch is numbered, so that it counts once however often it is
sent.

Why the bound holds. Healthy means here: each answer's chance to be bad is at most the bound, given
all answers before it on any replica, and whatever other replicas answer until its own has spoken
(a second, or an outage's length). Then a batch multiplies the wealth by at most 1 in the mean,
given all batches before: how many answers it has is settled by time and traffic, not by how they
turned out. So the wealth is a nonnegative supermartingale over the batches, and Ville's inequality
bounds its ever reaching a line. A batch's answers begin together: capital handed out for them bets
from the first of them. An answer that is lost on its way only makes the stream shorter.

Each replica goes on betting on its own answers alone, for the time when the store is away. A fleet
so has several processes that may trip, dependent ones; for any dependence the chance that one of
them does is at most the sum of their parts of alpha. The pool has `POOLED`, each replica `ALONE`:
together alpha for up to `MOST_REPLICAS` of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.guard import sequential as seq
from gateway.guard.panel import Evidence, Panel, Sums
from gateway.guard.values import OnTrip

log = logging.getLogger("gateway.guard")

MOST_REPLICAS = 32
POOLED = 0.5
ALONE = (1 - POOLED) / MOST_REPLICAS
_MOST_POSTERS = 8 * MOST_REPLICAS  # whose last number is remembered: those that spoke last


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one replica saw since it last spoke. Its number counts up."""

    number: int
    sums: Sums


@dataclass(frozen=True, slots=True)
class Merged:
    """The pooled evidence with a batch in it. `text` is what to store, None where the store has
    the batch already. `new` are the signals that trip by it."""

    text: str | None
    since: int
    evidence: Sequence[Evidence]
    new: Sequence[Evidence]


class Share:
    """One replica's share in the pooled evidence of one version of a route.

    `count`, `batch` and `settle` belong to the watch's event loop; `merge` to whatever thread
    carries the batch, one at a time.
    """

    def __init__(self, key: str, since: int, session: str, panel: Panel) -> None:
        """`key` names the route's version, `since` is the revision by which a person began its
        evidence anew (0: none is known). `session` names this share among all that ever were;
        `panel` is for it alone."""
        self.key = key
        self.evidence: Sequence[Evidence] = ()  # the pool's, as of the last exchange
        self._since = since
        self._session = session
        self._panel = panel
        self._sums = _none(panel)
        self._number = 0
        self._flying: Batch | None = None
        self._told: set[str] = set()

    def count(self, scores: Sequence[float | None]) -> None:
        """Note one answer's scores."""
        sums = self._sums
        for at, score in enumerate(scores):
            if score is not None:
                sums.seen[at] += 1
                sums.bad[at] += score
        sums.log_growth[...] += np.log(self._panel.growth(scores))

    def batch(self) -> Batch | None:
        """What is to be said: the batch whose fate is not known, else all that is new."""
        if self._flying is None and self._sums.seen.any():
            self._number += 1
            self._flying = Batch(self._number, self._sums)
            self._sums = _none(self._panel)
        return self._flying

    def merge(self, kept: str | None, batch: Batch) -> Merged:
        """The evidence that `kept` says, with `batch` in it."""
        posts = self._load(kept)
        new: list[Evidence] = []
        known = posts.pop(self._session, 0) >= batch.number
        if known:  # it was written, and the answer to that was lost
            new = [each for each in self._panel.evidence() if each.tripped]
        else:
            new = self._panel.take_many(batch.sums)
        posts[self._session] = batch.number
        said = {
            "since": self._since,
            "posts": dict(list(posts.items())[-_MOST_POSTERS:]),  # the newest is the last
            "panel": self._panel.saved(),
        }
        # A plain rule looks at each replica's own last answers.
        evidence = [each for each in self._panel.evidence() if each.signal.check.window is None]
        return Merged(None if known else json.dumps(said), self._since, evidence, new)

    def settle(self, merged: Merged) -> list[Evidence]:
        """The batch is in the pool. The trips that this replica is to see to: its own; and those
        that another began, and that have not taken the route back yet."""
        self._flying = None
        self.evidence = merged.evidence
        rule, own = self._panel.rule, {each.signal.name for each in merged.new}
        found = [
            each
            for each in merged.evidence
            if each.tripped
            and each.signal.name not in self._told
            and (each.signal.name in own or rule.action(each.signal.check) is not OnTrip.ALERT)
        ]
        self._told |= {each.signal.name for each in found}
        return found

    def _load(self, kept: str | None) -> dict[str, int]:
        """Have the panel say what is kept; returns who spoke last with which number. What another
        release or an earlier life of the route left counts for nothing."""
        self._panel.reset()
        if kept is None:
            return {}
        try:
            said: Mapping[str, Any] = json.loads(kept)
            since = int(said["since"])
            if since < self._since:
                return {}  # a person has begun it anew since
            self._panel.restore(said["panel"])
            posts = {str(name): int(number) for name, number in said["posts"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("pooled evidence begins anew: %r", error)
            self._panel.reset()
            return {}
        self._since = since
        return posts


def _none(panel: Panel) -> Sums:
    count = len(panel.signals)
    return Sums(np.zeros(count), np.zeros(count), np.zeros((count, seq.STAKES)))
