"""Which probes a round asks. Pure, but for the generator that is given.

The items of a set are fixed, and so is what a greedy model makes of each: asked in turn they would
be no sample of anything, and the second time round no new evidence at all. What the test needs is
that each score's mean, given all before it, is at most the bound. So every draw is made anew, with
replacement, from the same distribution: a suite, each as likely as the others, then an item of it,
each as likely as the others. The mean of a draw is then one fixed number, the mean over suites of
the mean over their items, whatever was drawn before; healthy is a statement on that number. Suites
weigh the same, whatever their sizes, so that a large one does not hide the others.

The items must not be chosen by what the base made of them: among items that the base happened to
get right, a model that is no worse gets some wrong, and looks worse.
"""

from __future__ import annotations

import random

from gateway.probes.values import Probe, ProbeSet


def draw(probes: ProbeSet, count: int, generator: random.Random) -> list[tuple[str, Probe]]:
    """`count` independent draws: suite and item."""
    names = sorted(probes.suites)
    drawn = []
    for _ in range(count):
        suite = generator.choice(names)
        drawn.append((suite, generator.choice(probes.suites[suite])))
    return drawn
