"""Engine throughput: base only and mixed adapters, beside transformers and peft, in one run.

Prompt 64 tokens, 32 new tokens, greedy; random rank-8 adapters on all linear layers. The ways take
turns within a round, so that a slow stretch of the machine touches all of them; the first round
warms up and is not counted. Figures are medians over the rounds, ratios the medians of each
round's own ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine_ways import (
    ENGINE_WAYS,
    LIBRARY_WAYS,
    Reading,
    Setup,
    Worker,
    make_adapters,
    serve_engine,
    serve_libraries,
)
from benchmarks.results import write
from gateway.engine.embedded.options import Dtype
from gateway.model.source import resolve_model

ROUNDS = 5
STREAMS = (1, 4, 16)
RATIOS = {
    "mixed_to_base": ("gateway engine, mixed", "gateway engine, base"),
    "mixed_to_peft_mixed": ("gateway engine, mixed", "peft adapter_names, mixed"),
    "base_to_generate": ("gateway engine, base", "transformers generate, base"),
}


def read(workers: dict[str, Worker], streams: int) -> dict[str, list[Reading]]:
    """The readings of each way, round by round."""
    found: dict[str, list[Reading]] = {way: [] for way in workers}
    for round_number in range(ROUNDS + 1):
        for way, worker in workers.items():
            reading = worker.ask(way, streams)
            if round_number:
                found[way].append(reading)
    return found


def summarise(found: dict[str, list[Reading]]) -> tuple[dict[str, Any], dict[str, float]]:
    """Figures by way, and ratios."""
    ways: dict[str, Any] = {}
    for way, readings in found.items():
        rates = [reading.tokens_per_s for reading in readings]
        ways[way] = {
            "tokens_per_s": round(statistics.median(rates), 1),
            "tokens_per_s_rounds": [round(rate, 1) for rate in rates],
        }
        firsts = [r.first_token_s for r in readings if r.first_token_s is not None]
        if firsts:
            ways[way]["first_token_s"] = round(statistics.median(firsts), 3)
    ratios = {
        name: round(
            statistics.median(
                a.tokens_per_s / b.tokens_per_s
                for a, b in zip(found[over], found[under], strict=True)
            ),
            3,
        )
        for name, (over, under) in RATIOS.items()
    }
    return ways, ratios


def main() -> None:
    """Run all ways and write benchmarks/results/NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="folder or hub id; default: the default base model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--name", default="engine", help="of the result file")
    arguments = parser.parse_args()
    files = resolve_model(arguments.model, progress=print)
    dtype: Dtype = "bfloat16" if arguments.device.startswith("cuda") else "float32"
    with tempfile.TemporaryDirectory() as work:
        setup = Setup(files, Path(work), make_adapters(files, Path(work)), arguments.device, dtype)
        ours, theirs = Worker(serve_engine, setup), Worker(serve_libraries, setup)
        workers = dict.fromkeys(ENGINE_WAYS, ours) | dict.fromkeys(LIBRARY_WAYS, theirs)
        figures: dict[str, Any] = {"ratios": {}}
        for streams in STREAMS:
            ways, ratios = summarise(read(workers, streams))
            figures[str(streams)], figures["ratios"][str(streams)] = ways, ratios
            print(streams, {way: f["tokens_per_s"] for way, f in ways.items()}, ratios, flush=True)
        figures["memory_mb"] = ours.ask("memory", 0)
        figures["model"], figures["dtype"] = files.name, dtype
        ours.close()
        theirs.close()
    print(write(arguments.name, figures))


if __name__ == "__main__":
    main()
