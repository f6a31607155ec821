"""Requests stay where their adapter and prompt are, until that server has too much of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.upstream.choice import Affinity, Candidate, choose, key_of, ranked

PLAIN = Affinity(slack=0)
NAMES = [f"http://s{n}" for n in range(6)]
keys = st.binary(min_size=16, max_size=16)
loads = st.lists(st.integers(0, 5000), min_size=1, max_size=6)
chances = st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))


def fleet(held: list[int], holds: list[bool] | None = None) -> list[Candidate]:
    flags = holds or [True] * len(held)
    return [Candidate(NAMES[i], load, flags[i]) for i, load in enumerate(held)]


@settings(deadline=None)
@given(loads, keys, st.integers(1, 4000), chances, st.data())
def test_a_choice_is_one_of_the_candidates_and_far_from_overload(
    held: list[int], key: bytes, cost: int, chance: tuple[float, float], data: st.DataObject
) -> None:
    holds = [data.draw(st.booleans()) for _ in held]
    servers = fleet(held, holds)
    name = choose(servers, key, cost, chance, PLAIN)
    taken = next(one for one in servers if one.name == name)
    bound = PLAIN.spill_at * (sum(held) + cost) / len(held)
    if any(one.load + cost <= bound for one in servers):
        assert taken.load + cost <= bound
    if any(one.load + cost <= bound and one.holds for one in servers):
        assert taken.holds


@settings(deadline=None)
@given(keys, chances, chances)
def test_without_load_a_key_has_one_server(
    key: bytes, one: tuple[float, float], other: tuple[float, float]
) -> None:
    servers = fleet([0] * 6)
    slack = replace(PLAIN, slack=100)
    assert choose(servers, key, 50, one, slack) == choose(servers, key, 50, other, slack)


@given(keys, st.sampled_from(NAMES))
def test_a_server_that_leaves_moves_only_its_own_keys(key: bytes, gone: str) -> None:
    before, after = ranked(NAMES, key), ranked([n for n in NAMES if n != gone], key)
    assert [name for name in before if name != gone] == after


def test_keys_spread_evenly() -> None:
    firsts = Counter(ranked(NAMES, key_of([n], None, PLAIN))[0] for n in range(3000))
    assert set(firsts) == set(NAMES)
    assert all(400 < count < 600 for count in firsts.values())


def test_the_key_is_the_prompts_beginning_and_the_adapter() -> None:
    affinity = Affinity(prompt_tokens=4)
    assert key_of([1, 2, 3, 4, 5], "a", affinity) == key_of([1, 2, 3, 4, 9], "a", affinity)
    assert key_of([1, 2, 3, 5], "a", affinity) != key_of([1, 2, 3, 4], "a", affinity)
    assert key_of([1, 2, 3, 4], "a", affinity) != key_of([1, 2, 3, 4], "b", affinity)
    assert key_of([1, 2, 3, 4], None, affinity) != key_of([1, 2, 3, 4], "b", affinity)


def test_a_hot_key_spills_over_to_the_less_loaded_of_two() -> None:
    key = bytes(16)
    load = dict.fromkeys(NAMES[:4], 0)
    random = iter([0.1, 0.7, 0.9, 0.2, 0.5, 0.4, 0.3, 0.8] * 100)
    for _ in range(200):
        servers = [Candidate(name, held) for name, held in load.items()]
        name = choose(servers, key, 100, (next(random), next(random)), PLAIN)
        assert name is not None
        load[name] += 100
    home = ranked(list(load), key)[0]
    assert load[home] == max(load.values())  # it has the most, and no more than its bound
    assert max(load.values()) <= 1.25 * sum(load.values()) / 4 + 100


def test_nobody_is_chosen_of_none() -> None:
    assert choose([], bytes(16), 1, (0.5, 0.5), PLAIN) is None
