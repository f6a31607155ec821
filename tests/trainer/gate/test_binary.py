"""Right-or-wrong scores: the exact test, Tango's interval, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.gate.binary import (
    Discordance,
    discordance,
    mcnemar_exact,
    tango_interval,
    tango_p,
    tango_score,
)


@st.composite
def tables(draw: st.DrawFn) -> Discordance:
    gains, losses, concordant = (draw(st.integers(0, 40)) for _ in range(3))
    return Discordance(gains, losses, max(1, gains + losses + concordant))


def test_discordant_items_are_counted_by_who_was_right() -> None:
    table = discordance([1, 1, 0, 0, 0], [1, 0, 1, 1, 0])
    assert table == Discordance(gains=2, losses=1, items=5)
    assert table.difference == pytest.approx(0.2)


def test_mcnemar_is_the_tail_of_a_fair_coin() -> None:
    assert mcnemar_exact(Discordance(9, 1, 50)) == pytest.approx(11 / 1024)
    assert mcnemar_exact(Discordance(0, 0, 50)) == 1.0


@pytest.mark.parametrize("table", [Discordance(12, 2, 50), Discordance(1, 0, 44)])
@pytest.mark.parametrize("difference", [-0.3, -0.05, 0.1, 0.4])
def test_tango_uses_the_likeliest_losses_under_the_assumed_difference(
    table: Discordance, difference: float
) -> None:
    losses = np.linspace(max(0.0, -difference), (1 - difference) / 2, 200_001)[1:-1]
    likelihood = (
        table.gains * np.log(losses + difference)
        + table.losses * np.log(losses)
        + (table.items - table.gains - table.losses) * np.log(1 - 2 * losses - difference)
    )
    likeliest = losses[likelihood.argmax()]
    variance = table.items * (2 * likeliest + difference - difference**2)
    expected = (table.gains - table.losses - table.items * difference) / variance**0.5
    assert tango_score(table, difference) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("items", [10, 100, 1000])
def test_no_discordant_item_bounds_by_about_the_rule_of_three(items: int) -> None:
    low, high = tango_interval(Discordance(0, 0, items), 0.05)
    assert high == pytest.approx(2.706 / (items + 2.706), rel=1e-3)
    assert low == pytest.approx(-high, abs=1e-6)


@given(tables())
def test_interval_holds_the_difference_and_mirrors_when_models_swap(table: Discordance) -> None:
    low, high = tango_interval(table, 0.05)
    assert -1 <= low <= table.difference <= high <= 1
    mirrored = tango_interval(Discordance(table.losses, table.gains, table.items), 0.05)
    assert mirrored[0] == pytest.approx(-high, abs=1e-6)
    assert mirrored[1] == pytest.approx(-low, abs=1e-6)


@example(Discordance(0, 0, 1), 2e-240)
@given(tables(), st.floats(-0.9, 0.9))
def test_score_falls_as_the_assumed_difference_rises(table: Discordance, at: float) -> None:
    assert tango_score(table, at) >= tango_score(table, at + 0.05) - 1e-9
    assert 0 <= tango_p(table, at) <= 1


def test_more_confidence_means_wider_bounds() -> None:
    table = Discordance(5, 9, 80)
    wide, narrow = tango_interval(table, 0.005), tango_interval(table, 0.05)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def _draws(gain: float, loss: float, items: int, runs: int) -> list[Discordance]:
    cells = np.random.default_rng(7).multinomial(items, [gain, loss, 1 - gain - loss], size=runs)
    return [Discordance(int(g), int(lost), items) for g, lost, _ in cells]


@pytest.mark.parametrize("discordant", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("items", [30, 120])
def test_mcnemar_accepts_no_worthless_adapter_more_often_than_alpha(
    discordant: float, items: int
) -> None:
    tables = _draws(discordant / 2, discordant / 2, items, 4000)
    wrong = np.mean([mcnemar_exact(t) <= 0.05 for t in tables])
    assert wrong <= 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5


@pytest.mark.parametrize(("gain", "loss"), [(0.05, 0.15), (0.0, 0.1), (0.1, 0.3), (0.02, 0.02)])
@pytest.mark.parametrize("items", [40, 150])
def test_tango_bounds_miss_about_as_often_as_they_say(gain: float, loss: float, items: int) -> None:
    tables = _draws(gain, loss, items, 800)
    intervals = [tango_interval(t, 0.05) for t in tables]
    above = np.mean([low > gain - loss for low, _ in intervals])
    below = np.mean([high < gain - loss for _, high in intervals])
    # 0.05 and the noise of 800 runs; a score interval on few discordant items strays a little.
    assert max(above, below) <= 0.08


def test_mcnemar_finds_a_gain_that_is_there() -> None:
    found = np.mean([mcnemar_exact(t) <= 0.05 for t in _draws(0.25, 0.05, 100, 1000)])
    assert found > 0.95
