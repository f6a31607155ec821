"""What replicas know together: each answer counts once, and the bound on false trips is theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import LogUnavailable
from gateway.guard import sequential as seq
from gateway.guard.panel import Panel
from gateway.guard.pool import ALONE, MOST_REPLICAS, POOLED, Share
from gateway.guard.pooling import Pooling
from gateway.guard.values import CheckKind, CheckRule, GuardRule, OnTrip
from gateway.guard.watched import Watched
from gateway.routing.table import Decision, Reason, Route, Target

RULE = GuardRule((CheckRule(CheckKind.EMPTY), CheckRule(CheckKind.CUT, on_trip=OnTrip.ALERT)))
ROUTE = Route("w", Target(), guard=RULE)
DECISION = Decision("w", Target(), Reason.ROUTE, 1, ROUTE)
GOOD, BAD = (0.0, 0.0), (1.0, 1.0)


class Store:
    """An `EvidenceStore` in memory whose answers can be lost, before or after a write."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[int, str]] = {}
        self.lose: str | None = None

    def read(self, keys: Sequence[str]) -> list[tuple[int, str | None]]:
        if self.lose == "read":
            raise LogUnavailable("away")
        return [self.kept.get(key, (0, None)) for key in keys]

    def write(self, changes: Sequence[tuple[str, int, str]]) -> list[bool]:
        done = []
        for key, turn, text in changes:
            done.append(self.kept.get(key, (0, ""))[0] == turn)
            if done[-1]:
                self.kept[key] = (turn + 1, text)
        if self.lose == "answer":
            raise LogUnavailable("away")
        return done


class Replica:
    """One process's watch on the route `w`."""

    def __init__(self, store: Store, since: int = 0) -> None:
        self.pooling = Pooling(store)
        self.watched = Watched(DECISION, Panel(RULE, None, part=ALONE), "key")
        self.watched.share = self.pooling.share(RULE, None, "key", since)

    def sees(self, *scores: Sequence[float | None]) -> Replica:
        assert self.watched.share is not None
        for each in scores:
            self.watched.share.count(each)
        return self

    def speaks(self) -> list[str]:
        """The signals whose trip it is to see to."""
        found = asyncio.run(self.pooling.exchange([self.watched]))
        return [evidence.signal.name for _, evidence in found]

    @property
    def knows(self) -> tuple[int, float]:
        """Answers seen, and bad ones, of the first signal."""
        share = self.watched.share
        assert share is not None
        assert share.evidence
        return share.evidence[0].seen, share.evidence[0].bad


def test_what_two_replicas_saw_is_worth_what_one_who_saw_it_all_knows() -> None:
    store, whole = Store(), Panel(RULE, None, part=POOLED)
    one, two = Replica(store), Replica(store)
    for scores in ((1.0, 0.5), (0.0, 0.0), (0.25, None), (0.5, 1.0)):
        for replica in (one, two):
            replica.sees(scores).speaks()
            whole.take(scores)
    kept: dict[str, Any] = json.loads(store.kept["key"][1])["panel"]
    np.testing.assert_allclose(kept["wealth"], whole.saved()["wealth"])
    assert kept["seen"] == whole.saved()["seen"]
    assert kept["bad"] == whole.saved()["bad"]
    assert two.knows == (8, 3.5)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 3), st.sampled_from([None, "read", "answer", "restart"])
    ),
    max_size=15,
)


@settings(deadline=None, max_examples=40)
@given(STEPS)
def test_each_answer_counts_once_whatever_is_lost_on_the_way(
    steps: list[tuple[int, int, str | None]],
) -> None:
    store = Store()
    replicas = [Replica(store) for _ in range(3)]
    waiting, counted = [0, 0, 0], 0
    for at, answers, fate in steps:
        if fate == "restart":
            replicas[at].speaks()
            replicas[at].speaks()
            counted, waiting[at] = counted + waiting[at], 0
            replicas[at] = Replica(store)
            continue
        waiting[at] += answers
        replicas[at].sees(*[GOOD] * answers)
        store.lose = fate
        replicas[at].speaks()
        store.lose = None
    for at, replica in enumerate(replicas):
        replica.speaks()
        replica.speaks()  # what came after a batch whose fate was not known
        counted += waiting[at]
    kept = store.kept.get("key")
    assert (0 if kept is None else json.loads(kept[1])["panel"]["seen"][0]) == counted


def test_two_who_write_at_once_both_count() -> None:
    store = Store()
    one, two = Replica(store).sees(BAD), Replica(store).sees(GOOD)
    write = store.write

    def slow(changes: Sequence[tuple[str, int, str]]) -> list[bool]:
        store.write = write  # type: ignore[method-assign]
        two.speaks()
        return write(changes)

    store.write = slow  # type: ignore[method-assign]
    one.speaks()
    assert one.knows == (2, 1.0)


def test_what_a_person_enabled_begins_anew_and_one_who_comes_later_adopts_it() -> None:
    store = Store()
    Replica(store).sees(BAD).speaks()
    Replica(store, since=7).sees(GOOD).speaks()
    late = Replica(store).sees(GOOD)
    late.speaks()
    assert late.knows == (2, 0.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"since": 0, "posts": {}, "panel": {}}', "{"])
def test_what_cannot_be_read_counts_for_nothing(text: str) -> None:
    store = Store()
    store.kept["key"] = (3, text)
    replica = Replica(store).sees(GOOD)
    replica.speaks()
    assert replica.knows == (1, 0.0)


def test_a_trip_is_seen_to_by_everyone_and_an_alert_told_by_one() -> None:
    store = Store()
    one, two = Replica(store), Replica(store)
    two.sees(GOOD).speaks()
    assert one.sees(*[BAD] * 10).speaks() == ["empty", "cut"]
    assert two.sees(GOOD).speaks() == ["empty"]
    assert two.sees(GOOD).speaks() == []


def fleet_trips(
    rate: float, bound: float, alpha: float, *, replicas: int, ticks: int, runs: int = 400
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """For each run: how many answers the fleet had seen when its pool tripped, and when any
    replica's own evidence did (0: never). Each sees about four answers between two ticks."""
    rng = np.random.default_rng(4)
    stake = seq.stakes(bound)
    pool, pooled_seen = np.zeros((runs, seq.STAKES)), np.zeros(runs)
    own, own_seen = np.zeros((runs, replicas, seq.STAKES)), np.zeros((runs, replicas))
    by_pool, by_own = np.zeros(runs), np.zeros(runs)
    for _ in range(ticks):
        count = rng.poisson(4, (runs, replicas))
        bad = rng.binomial(count, rate)
        own = seq.advance(own, own_seen, count, seq.growth_of_counts(stake, bound, count, bad))
        own_seen += count
        for at in range(replicas):  # each speaks in its turn
            grown = seq.growth_of_counts(stake, bound, count[:, at], bad[:, at])
            pool = seq.advance(pool, pooled_seen, count[:, at], grown)
            pooled_seen += count[:, at]
            over = (seq.e_value(pool, pooled_seen) >= 1 / (alpha * POOLED)) & (by_pool == 0)
            by_pool[over] = pooled_seen[over]
        over = (seq.e_value(own, own_seen) >= 1 / (alpha * ALONE)).any(axis=1) & (by_own == 0)
        by_own[over] = pooled_seen[over]
    return by_pool, by_own


def test_a_healthy_fleet_at_its_very_bound_is_rarely_ever_tripped_by_anyone() -> None:
    pool, own = fleet_trips(0.05, 0.05, 0.1, replicas=4, ticks=800)
    share = ((pool > 0) | (own > 0)).mean()
    assert share <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 400)


def test_four_replicas_need_about_as_many_answers_together_as_one() -> None:
    four, alone = fleet_trips(0.1, 0.03, 0.01, replicas=4, ticks=80)
    one, _ = fleet_trips(0.1, 0.03, 0.01, replicas=1, ticks=320)
    assert (four > 0).all()
    assert abs(np.median(four) / np.median(one) - 1) < 0.15
    assert np.median(np.where(alone, alone, np.inf)) > 2 * np.median(four)


def test_the_parts_of_alpha_come_to_alpha() -> None:
    assert pytest.approx(1.0) == POOLED + MOST_REPLICAS * ALONE
    whole, part = Panel(RULE, None), Panel(RULE, None, part=POOLED)
    assert part.signals[0].alpha == pytest.approx(whole.signals[0].alpha * POOLED)
    assert part.signals[0].bound == whole.signals[0].bound


def test_a_share_with_nothing_new_says_nothing() -> None:
    share = Share("key", 0, "me", Panel(RULE, None, part=POOLED))
    assert share.batch() is None
