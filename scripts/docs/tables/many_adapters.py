"""Two thousand adapters on sixteen slots beside sixteen: benchmarks/results/adapters.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.docs.figures import NOT_READ, number, result, source
from scripts.docs.markdown import table


def many_adapters() -> str:
    """Throughput, hit rates and stalls of each load, and the hit rates of its trace."""
    read = result("adapters")
    if read is None:
        return NOT_READ
    figures: Mapping[str, Any] = read["figures"]
    loads: Mapping[str, Mapping[str, Any]] = figures["loads"]
    head = ("load", "requests/s", "tokens/s", "first token p50, s", "p95", "between tokens p99, ms")
    rates = table(
        head,
        [
            (
                name,
                number(load["requests_per_s"], 1),
                number(load["tokens_per_s"], 0),
                number(load["first_token_s"]["p50"]),
                number(load["first_token_s"]["p95"]),
                _ms(load["between_tokens_s"]["p99"]),
            )
            for name, load in loads.items()
        ],
    )
    found = (
        "load",
        "in a slot when it came",
        "served without a load",
        "LRU of the trace",
        "optimum of the trace",
        "loads from memory",
        "stalled",
        "stall p50, ms",
        "p95",
        "max",
    )
    hits = table(
        found,
        [
            (
                name,
                _percent(load["hit_rate"]),
                _percent(1 - load["loads"] / load["requests"]),
                _percent(load["hit_rate_of_trace"]["LRU"]),
                _percent(load["hit_rate_of_trace"]["optimum"]),
                _percent(load["memory_hit_rate"]) if load["loads"] else "-",
                _percent(load["stalls"] / load["requests"]),
                *(_ms(load["stall_s"].get(point)) for point in ("p50", "p95", "max")),
            )
            for name, load in loads.items()
        ],
    )
    ratio, predicted = figures["throughput_to_few"], figures["predicted"]
    memory = [f"{number(load['memory_tier_mb'], 0)} MB" for load in loads.values()][:1]
    return "\n".join(
        [
            rates,
            hits,
            f"Tokens/s of the first load over the second's, medians of the rounds' own ratios: "
            f"{number(ratio['median'])} (aim {number(ratio['aim'])}, predicted "
            f"{number(predicted['throughput_to_few'])}; rounds "
            f"{', '.join(number(each) for each in ratio['each_round'])}). "
            f"{figures['rounds']} rounds of {figures['requests_of_a_round']} requests for the "
            f"first two loads{', one of half as many for the others' if len(loads) > 2 else ''}; "
            f"engine on {figures['threads']} thread{'' if figures['threads'] == 1 else 's'}, "
            f"{figures['in_flight']} requests in flight, prompts of {figures['prompt_tokens']} "
            f"tokens, {figures['new_tokens']} new, rank {figures['rank']}, "
            f"{number(figures['adapter_mb'], 1)} MB an adapter on disk. Memory behind the slots "
            f"after the first load: {memory[0]}.\n",
            source("adapters", read),
        ]
    )


def _ms(seconds: object) -> str:
    return number(seconds * 1e3, 0) if isinstance(seconds, int | float) else "-"


def _percent(share: float) -> str:
    return f"{share * 100:.0f}%"
