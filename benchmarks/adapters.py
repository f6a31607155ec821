"""Two thousand adapters on sixteen device slots: requests by a Zipf law, beside the same load on
sixteen adapters, in turns in one run.

    python -m benchmarks.adapters [--registry FOLDER] [--rounds 3] [--requests 80] [--seconds 600]

Every load has an engine in a process of its own (the default base model), keeps what it holds from
round to round, and is warmed up by a round that is not counted. The adapters' files are dropped
from the system's memory before each round, so a read is one from disk.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import results
from benchmarks.adapters_load import IN_FLIGHT, NEW, PROMPT, SLOTS, World, serve
from benchmarks.adapters_made import RANK, make_adapters
from benchmarks.adapters_trace import best_hits, lru_hits, share, zipf_trace
from gateway.model.source import resolve_model

ADAPTERS, FEW, SEED = 2000, 16, 11
AIM = 0.8  # of the few adapters' tokens/s
# Written down before the first run, for exponent 1.0. With one read and one fill taking 80 ms of a
# processor that the engine needs itself, and two of three requests needing one.
PREDICTED = {
    "hit_rate": {"LRU of the trace": 0.32, "optimum of the trace": 0.45},
    "memory_hit_rate": 0.5,
    "throughput_to_few": 0.6,
    "stall_ms": {"p50": 150, "p95": 600},
}


@dataclass(frozen=True, slots=True)
class Load:
    """Requests over the first `adapters` of the registry, by a Zipf law."""

    adapters: int
    exponent: float

    @property
    def name(self) -> str:
        return f"{self.adapters} adapters, Zipf {self.exponent}"


MAIN, BESIDE = Load(ADAPTERS, 1.0), Load(FEW, 1.0)
# Read in one round each: other exponents; and what it costs that rows name different adapters at
# all, with none to be loaded.
OTHERS = (Load(ADAPTERS, 0.8), Load(ADAPTERS, 1.2), Load(FEW, 0.0))


class Process:
    """A running engine, asked for one trace at a time."""

    def __init__(self, world: World) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(world, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.started: dict[str, float] = self._pipe.recv()

    def run(self, trace: Sequence[int]) -> dict[str, Any]:
        """What the engine and its clients saw."""
        self._pipe.send(list(trace))
        found: dict[str, Any] = self._pipe.recv()
        return found

    def close(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join(60)


class Rounds:
    """One load, cut into rounds of one trace; the first warms up."""

    def __init__(self, load: Load, process: Process, rounds: int, requests: int) -> None:
        self._process, self._requests = process, requests
        self._trace = zipf_trace(load.adapters, load.exponent, (rounds + 1) * requests, SEED)
        self._next = 0
        self.read: list[dict[str, Any]] = []

    def go_on(self) -> None:
        """Run the next round."""
        start = self._next * self._requests
        found = self._process.run(self._trace[start : start + self._requests])
        if self._next:
            self.read.append(found)
        self._next += 1
        print(self._next, json.dumps(rounded(found)), flush=True)

    def figures(self) -> dict[str, Any]:
        """Medians over the counted rounds, and the trace's own hit rates."""
        run = self._trace[: self._next * self._requests]
        by_trace = {
            "LRU": share(lru_hits(run, SLOTS), self._requests),
            "optimum": share(best_hits(run, SLOTS), self._requests),
        }
        return {
            **medians(self.read),
            "tokens_per_s_rounds": [each["tokens_per_s"] for each in self.read],
            "hit_rate_of_trace": by_trace,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, help="made there and kept; default: thrown away")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--requests",
        type=int,
        default=80,
        help="of a round; half as many where a load is read once",
    )
    parser.add_argument("--seconds", type=float, default=600, help="begin no round after these")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only-main", action="store_true", help="without the other loads")
    parser.add_argument("--name", default="adapters", help="of the result file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        figures = read(asked, asked.registry or Path(work) / "registry", Path(work) / "one")
    print(json.dumps(rounded(figures), indent=2))
    print(results.write(asked.name, rounded(figures)))


def read(asked: argparse.Namespace, registry: Path, scratch: Path) -> dict[str, Any]:
    """All figures, with what they were read under."""
    files = resolve_model(None, progress=print)
    began = time.perf_counter()
    artifacts = make_adapters(registry, scratch, files, ADAPTERS)
    print(f"{len(artifacts)} adapters made in {time.perf_counter() - began:.0f} s", flush=True)
    dtype: Any = "bfloat16" if asked.device.startswith("cuda") else "float32"
    many, few = (
        Process(World(files, artifacts[:count], asked.device, dtype, asked.threads))
        for count in (ADAPTERS, FEW)
    )
    both = {
        load.name: Rounds(load, process, asked.rounds, asked.requests)
        for load, process in ((MAIN, many), (BESIDE, few))
    }
    turns(list(both.values()), asked.rounds, ends=began + asked.seconds)
    loads = {MAIN.name: {name: each.figures() for name, each in both.items()}}
    if not asked.only_main:
        for load in OTHERS:
            process = many if load.adapters == ADAPTERS else few
            rounds = Rounds(load, process, 1, asked.requests // 2)
            rounds.go_on()
            rounds.go_on()
            loads[load.name] = {load.name: rounds.figures()}
    many.close()
    few.close()
    flat = {name: figures for group in loads.values() for name, figures in group.items()}
    return {
        "predicted": PREDICTED,
        "model": files.name,
        "dtype": dtype,
        "adapter_mb": artifacts[0].size_bytes / 1e6,
        "rank": RANK,
        "slots": SLOTS,
        "in_flight": IN_FLIGHT,
        "prompt_tokens": PROMPT,
        "new_tokens": NEW,
        "threads": asked.threads or torch.get_num_threads(),
        "rounds": len(both[MAIN.name].read),
        "requests_of_a_round": asked.requests,
        "start": {str(ADAPTERS): many.started, str(FEW): few.started},
        "throughput_to_few": {
            "each_round": ratios(flat[MAIN.name], flat[BESIDE.name]),
            "median": statistics.median(ratios(flat[MAIN.name], flat[BESIDE.name])),
            "aim": AIM,
        },
        "loads": flat,
    }


def turns(loads: Sequence[Rounds], rounds: int, *, ends: float) -> None:
    """A round of each load in turn; at least one that counts."""
    for number in range(rounds + 1):
        if number < 2 or time.perf_counter() < ends:
            for each in loads:
                each.go_on()


def ratios(over: Mapping[str, Any], under: Mapping[str, Any]) -> list[float]:
    """Tokens/s of each round by those of the other load's round beside it."""
    pairs = zip(over["tokens_per_s_rounds"], under["tokens_per_s_rounds"], strict=True)
    return [a / b for a, b in pairs]


def medians(read: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median of each figure over rounds, where the round has it."""
    found: dict[str, Any] = {}
    for name in read[0]:
        values = [each[name] for each in read]
        if isinstance(values[0], Mapping):
            held = [value for value in values if value]
            found[name] = medians(held) if held else {}
        else:
            found[name] = statistics.median(values)
    return found


def rounded(figures: Any) -> Any:
    """The same with four decimals at most."""
    if isinstance(figures, Mapping):
        return {name: rounded(value) for name, value in figures.items()}
    if isinstance(figures, list):
        return [rounded(value) for value in figures]
    return round(figures, 4) if isinstance(figures, float) else figures


if __name__ == "__main__":
    main()
