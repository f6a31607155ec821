"""Sampling against plain formulas."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.base import SamplingParams
from gateway.engine.embedded.sampling import RowSampler, prompt_logprobs, sample
from gateway.errors import EngineFault

VOCAB = 12
logits_of = st.lists(st.floats(-8, 8, width=32), min_size=VOCAB, max_size=VOCAB)


def params(**changes: object) -> SamplingParams:
    return SamplingParams(max_tokens=8, **changes)  # type: ignore[arg-type]


def draws(logits: list[float], count: int, **changes: object) -> list[int]:
    row = RowSampler(params(**changes))
    return [row.choose(torch.tensor(logits)).token_id for _ in range(count)]


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    top = max(logits)
    weights = [math.exp((value - top) / temperature) for value in logits]
    return [weight / sum(weights) for weight in weights]


@given(logits_of)
def test_temperature_zero_takes_the_likeliest(logits: list[float]) -> None:
    (token,) = draws(logits, 1, temperature=0)
    assert logits[token] == max(logits)


@given(logits_of, st.floats(0.05, 0.95))
def test_top_p_draws_from_the_smallest_likeliest_set_alone(
    logits: list[float], top_p: float
) -> None:
    chances = softmax(logits)
    ordered = sorted(chances, reverse=True)
    held, least = 0.0, 0.0
    for chance in ordered:
        if held >= top_p - 1e-4:
            break
        held, least = held + chance, chance
    drawn = draws(logits, 20, temperature=1.0, top_p=top_p, seed=1)
    assert all(chances[token] >= least - 1e-4 for token in drawn)


def test_top_p_keeps_one_token_however_small_it_is() -> None:
    assert set(draws([0.0, 5.0, 1.0], 50, top_p=0.01, seed=3)) == {1}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_tempered_softmax_says(temperature: float) -> None:
    logits = [0.0, 1.0, 2.0, -1.0]
    count = 4000
    found = Counter(draws(logits, count, temperature=temperature, seed=11))
    for token, chance in enumerate(softmax(logits, temperature)):
        deviation = math.sqrt(chance * (1 - chance) / count)
        assert abs(found[token] / count - chance) < 5 * deviation


@given(logits_of, st.integers(-(2**40), 2**70))
def test_the_same_seed_draws_the_same_tokens_and_choices_differ(
    logits: list[float], seed: int
) -> None:
    assert draws(logits, 10, seed=seed) == draws(logits, 10, seed=seed)
    flat = torch.zeros(1000)
    one, two = (RowSampler(params(seed=seed), choice=choice) for choice in (0, 1))
    assert [one.choose(flat).token_id for _ in range(8)] != [
        two.choose(flat).token_id for _ in range(8)
    ]


def test_a_seeded_row_draws_the_same_whatever_the_batch_holds() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(5))
    alone = sample(logits[1:2].clone(), [RowSampler(params(seed=4))])
    others = [RowSampler(params()), RowSampler(params(seed=4)), RowSampler(params(temperature=0))]
    assert sample(logits.clone(), others)[1] == alone[0]


@given(logits_of, st.floats(-2, 2), st.floats(-2, 2))
def test_penalties_are_openais_formula(
    logits: list[float], frequency: float, presence: float
) -> None:
    row = RowSampler(params(temperature=0, frequency_penalty=frequency, presence_penalty=presence))
    counts: Counter[int] = Counter()
    for _ in range(6):
        token = row.choose(torch.tensor(logits)).token_id
        expected = [
            logit - counts[at] * frequency - (presence if counts[at] else 0)
            for at, logit in enumerate(logits)
        ]
        assert expected[token] == pytest.approx(max(expected), abs=1e-4)
        counts[token] += 1


@given(logits_of, st.integers(0, 5))
def test_reported_scores_are_the_models_own(logits: list[float], best: int) -> None:
    row = RowSampler(
        params(temperature=1.7, top_p=0.6, presence_penalty=1.0, logprobs=best, seed=2)
    )
    chances = softmax(logits)
    for _ in range(3):
        sampled = row.choose(torch.tensor(logits))
        assert sampled.logprob == pytest.approx(math.log(chances[sampled.token_id]), abs=1e-4)
        assert [value for _, value in sampled.top] == pytest.approx(
            [math.log(chance) for chance in sorted(chances, reverse=True)[:best]], abs=1e-4
        )


@given(st.lists(logits_of, min_size=1, max_size=4), st.data())
def test_prompt_scores_are_the_models_own(rows: list[list[float]], data: st.DataObject) -> None:
    targets = data.draw(st.lists(st.integers(0, VOCAB - 1), min_size=len(rows), max_size=len(rows)))
    found = prompt_logprobs(torch.tensor(rows), targets, 1)
    for logits, target, (value, ((_, top),)) in zip(rows, targets, found, strict=True):
        chances = softmax(logits)
        assert value == pytest.approx(math.log(chances[target]), abs=1e-4)
        assert top == pytest.approx(math.log(max(chances)), abs=1e-4)


@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_not_finite_are_a_fault(temperature: float) -> None:
    with pytest.raises(EngineFault, match="not finite"):
        sample(torch.full((1, 4), float("nan")), [RowSampler(params(temperature=temperature))])
