"""Draws are independent and of one distribution, so that healthy is one fixed number."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from gateway.guard import sequential as seq
from gateway.probes.sampling import draw
from gateway.probes.values import Choices, Probe, ProbeSet

SIZES = {"few": 2, "some": 5, "many": 40}
SET = ProbeSet(
    "s",
    "d",
    {
        suite: tuple(
            Probe(f"{suite}/{at}", Choices(("a", "b"), 0), prompt="p") for at in range(size)
        )
        for suite, size in SIZES.items()
    },
)


def test_suites_weigh_the_same_and_their_items_too() -> None:
    drawn = draw(SET, 12_000, random.Random(1))
    suites = Counter(suite for suite, _ in drawn)
    items = Counter(probe.id for _, probe in drawn)
    assert all(abs(suites[suite] - 4000) < 250 for suite in SIZES)  # about five deviations
    for suite, size in SIZES.items():
        expected = 4000 / size
        for at in range(size):
            assert abs(items[f"{suite}/{at}"] - expected) < 6 * expected**0.5


def test_one_generator_goes_on_and_never_repeats_a_round() -> None:
    generator = random.Random(1)
    first, second = draw(SET, 30, generator), draw(SET, 30, generator)
    assert first != second
    assert draw(SET, 30, random.Random(1)) == first


def test_a_target_at_its_tolerance_on_fixed_items_trips_as_rarely_as_promised() -> None:
    # What a greedy model makes of an item never changes. Here the target loses 0.6 on some items
    # and wins as much on fewer: the mean over suites of the mean over items is the tolerance.
    alpha, tolerance, runs, looks = 0.1, 0.1, 400, 400
    rng = random.Random(7)
    losses = {
        probe.id: {"few": (0.6, 0.0), "some": (0.5, 0.5, 0.0, 0.0, -0.5), "many": (0.0,)}[suite]
        for suite, probes in SET.suites.items()
        for probe in probes
    }
    loss = {key: values[int(key.split("/")[1]) % len(values)] for key, values in losses.items()}
    means = [np.mean([loss[p.id] for p in probes]) for probes in SET.suites.values()]
    excess = float(np.mean(means)) - tolerance
    bound = np.array(seq.difference_bound(tolerance))
    stake = seq.stakes(bound)
    wealth, seen = np.zeros((runs, seq.STAKES)), np.zeros(runs)
    tripped = np.zeros(runs, dtype=bool)
    drawn = [draw(SET, looks, rng) for _ in range(runs)]
    for at in range(looks):
        difference = np.array([loss[drawn[run][at][1].id] - excess for run in range(runs)])
        scores = seq.difference_score(difference, 0.0)
        wealth = seq.advance(wealth, seen, np.ones(runs), seq.growth(stake, bound, scores))
        seen += 1
        tripped |= seq.e_value(wealth, seen) >= 1 / alpha
    assert tripped.mean() <= alpha
