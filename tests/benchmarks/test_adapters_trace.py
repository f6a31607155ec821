"""The traces of the adapters' benchmark, and the hit rates that a cache could have had of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.adapters_trace import best_hits, lru_hits, policy_hits, share, zipf_trace


def test_a_trace_is_of_its_seed_and_its_law() -> None:
    trace = zipf_trace(50, 1.0, 20_000, seed=3)
    assert trace == zipf_trace(50, 1.0, 20_000, seed=3) != zipf_trace(50, 1.0, 20_000, seed=4)
    counts = sorted((trace.count(name) for name in range(50)), reverse=True)
    harmonic = sum(1 / k for k in range(1, 51))
    for rank in (1, 2, 10):
        assert abs(counts[rank - 1] / 20_000 - 1 / rank / harmonic) < 0.01


def _most_hits(trace: list[int], slots: int) -> int:
    """Of every way to evict."""
    best = 0
    states: dict[tuple[int, ...], int] = {(): 0}
    for wanted in trace:
        after: dict[tuple[int, ...], int] = {}
        for held, hits in states.items():
            if wanted in held:
                choices = [(held, hits + 1)]
            elif len(held) < slots:
                choices = [((*held, wanted), hits)]
            else:
                choices = [
                    ((*(name for name in held if name != out), wanted), hits) for out in held
                ]
            for state, count in choices:
                key = tuple(sorted(state))
                after[key] = max(count, after.get(key, 0))
        states = after
        best = max(states.values())
    return best


@given(st.lists(st.integers(0, 4), max_size=9), st.integers(1, 3))
def test_the_optimum_is_what_the_best_of_all_evictions_comes_to(
    trace: list[int], slots: int
) -> None:
    assert sum(best_hits(trace, slots)) == _most_hits(trace, slots)
    assert sum(lru_hits(trace, slots)) <= sum(best_hits(trace, slots))


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 4))
def test_a_policy_of_recency_is_lru(trace: list[int], slots: int) -> None:
    used: dict[int, int] = {}

    def touch(name: int) -> None:
        used[name] = len(used) and max(used.values()) + 1

    found = policy_hits(trace, slots, touch, lambda held: min(held, key=used.__getitem__))
    assert found == lru_hits(trace, slots)


def test_only_what_came_after_the_warm_up_counts() -> None:
    assert share([False, True, True, False], 0) == 0.5
    assert share([False, False, True], 2) == 1.0
    assert share([], 0) == 0.0
